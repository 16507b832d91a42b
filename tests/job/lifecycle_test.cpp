// The table, whole: every state with every event.

#include <gtest/gtest.h>

#include <set>

#include "supervisor/job/lifecycle.hpp"

namespace bulkhead {
namespace {

std::vector<Facts> all_facts() {
  std::vector<Facts> all;
  for (int bits = 0; bits < 32; ++bits)
    all.push_back({.refused = (bits & 16) != 0,
                   .stop = (bits & 1) != 0,
                   .worker_gone = (bits & 2) != 0,
                   .may_retry = (bits & 4) != 0,
                   .requeue_unentered = (bits & 8) != 0});
  return all;
}

template <typename Check>
void for_all(Check check) {
  for (int state = 0; state < kStates; ++state)
    for (int event = 0; event < kEvents; ++event)
      for (const Facts& facts : all_facts()) {
        SCOPED_TRACE(std::string(to_string(State(state))) + " + " + std::string(to_string(Event(event))));
        check(State(state), Event(event), facts);
      }
}

TEST(Lifecycle, AnUnexpectedEventChangesNothing) {
  for_all([](State state, Event event, const Facts& facts) {
    Transition transition = apply(state, event, facts);
    if (transition.expected) return;
    EXPECT_EQ(transition.next, state);
    EXPECT_EQ(transition.effects, Effect::None);
  });
}

TEST(Lifecycle, NothingLeavesTheEnd) {
  for_all([](State state, Event event, const Facts& facts) {
    if (state != State::Settled) return;
    EXPECT_FALSE(apply(state, event, facts).expected);
  });
}

TEST(Lifecycle, AnOutcomeOnceKnownIsOnlyWrittenReportedAndSettled) {
  for_all([](State state, Event event, const Facts& facts) {
    if (!is_over(state)) return;
    State next = apply(state, event, facts).next;
    EXPECT_GE(next, state);
    EXPECT_LE(static_cast<int>(next), static_cast<int>(state) + 1);
  });
}

TEST(Lifecycle, TheOutcomeIsWrittenExactlyWhenItBecomesKnown) {
  for_all([](State state, Event event, const Facts& facts) {
    Transition transition = apply(state, event, facts);
    bool becomes_known = transition.next == State::Finishing && state != State::Finishing;
    EXPECT_EQ(has(transition.effects, Effect::WriteFinish), becomes_known);
  });
}

TEST(Lifecycle, AChildsPlaceIsFreedExactlyWhenTheJobLeavesIt) {
  auto holds_place = [](State state) { return state == State::Admitting || state == State::Starting || is_out(state); };
  for_all([&](State state, Event event, const Facts& facts) {
    Transition transition = apply(state, event, facts);
    EXPECT_EQ(has(transition.effects, Effect::Release), holds_place(state) && !holds_place(transition.next));
  });
}

TEST(Lifecycle, EveryWayBackToTheQueueEnqueuesOnce) {
  for_all([](State state, Event event, const Facts& facts) {
    Transition transition = apply(state, event, facts);
    bool enters = transition.next == State::Queued && state != State::Queued;
    int times = has(transition.effects, Effect::Enqueue) + has(transition.effects, Effect::EnqueueFirst);
    EXPECT_EQ(times, enters ? 1 : 0);
    bool leaves_by_stop = state == State::Queued && transition.next == State::Finishing;
    EXPECT_EQ(has(transition.effects, Effect::Dequeue), leaves_by_stop);
  });
}

TEST(Lifecycle, AStoppedJobIsStartedAgainOnlyWhereItsTimeOutMayBeRetried) {
  for_all([](State state, Event event, const Facts& facts) {
    if (!facts.stop || state == State::Queued || event == Event::Assigned) return;
    if (facts.may_retry && is_out(state)) return;
    if (state == State::HandedOut) return;  // a stop takes it to Stopping at once
    Transition transition = apply(state, event, facts);
    EXPECT_FALSE(has(transition.effects, Effect::Send));
    if (event != Event::StartRefused) {
      EXPECT_NE(transition.next == State::Queued && state != State::Queued, true);
    }
  });
}

TEST(Lifecycle, TheLadderClimbsOneStepAtATimeAndKeepsKilling) {
  EXPECT_EQ(apply(State::HandedOut, Event::StopWanted, {}).next, State::Stopping);
  EXPECT_EQ(apply(State::Stopping, Event::StepDue, {}).next, State::Terminating);
  EXPECT_EQ(apply(State::Terminating, Event::StepDue, {}).next, State::Killing);
  Transition again = apply(State::Killing, Event::StepDue, {});
  EXPECT_EQ(again.next, State::Killing);
  EXPECT_TRUE(has(again.effects, Effect::Kill));
}

TEST(Lifecycle, ABystanderIsRequeuedUncountedUntilItsLimit) {
  Transition back = apply(State::HandedOut, Event::LostUnentered, {.requeue_unentered = true});
  EXPECT_TRUE(has(back.effects, Effect::WriteRequeue));
  EXPECT_EQ(back.next, State::Queued);
  Transition over = apply(State::HandedOut, Event::LostUnentered, {.requeue_unentered = false});
  EXPECT_EQ(over.next, State::Finishing);
}

TEST(Lifecycle, WhoeverSubmittedIsAnsweredExactlyOnce) {
  auto unanswered = [](State state) { return state == State::Accepting || state == State::Admitting; };
  for_all([&](State state, Event event, const Facts& facts) {
    Transition transition = apply(state, event, facts);
    int answers = has(transition.effects, Effect::AnswerAccepted) + has(transition.effects, Effect::AnswerRefused);
    EXPECT_EQ(answers, unanswered(state) && !unanswered(transition.next) ? 1 : 0);
  });
}

TEST(Lifecycle, ACrashIsRetriedOnlyWhereThatIsAllowed) {
  Transition retried = apply(State::HandedOut, Event::LostEntered, {.may_retry = true});
  EXPECT_EQ(retried.next, State::Queued);
  EXPECT_TRUE(has(retried.effects, Effect::WriteLost));
  EXPECT_EQ(apply(State::HandedOut, Event::LostEntered, {.may_retry = false}).next, State::Finishing);
}

TEST(Lifecycle, EveryEndOfAnAttemptIsRetriedWhereThatIsAllowed) {
  for (State state : {State::HandedOut, State::Stopping, State::Terminating, State::Killing})
    for (Event event : {Event::Answered, Event::LostEntered, Event::LostUnentered}) {
      SCOPED_TRACE(std::string(to_string(state)) + " + " + std::string(to_string(event)));
      Transition retried = apply(state, event, {.may_retry = true, .requeue_unentered = false});
      EXPECT_EQ(retried.next, State::Queued);
      EXPECT_TRUE(has(retried.effects, Effect::WriteLost) && has(retried.effects, Effect::Release));
      EXPECT_EQ(apply(state, event, {.requeue_unentered = false}).next, State::Finishing);
    }
}

}  // namespace
}  // namespace bulkhead
