#include "supervisor/job/lifecycle.hpp"

namespace bulkhead {
namespace {

constexpr Effect kFreeAndFinish = Effect::Release | Effect::WriteFinish;

/// The attempt is over: with its child (entered, or as a bystander once too often), by its deadline, or by its answer.
Transition lost(const Facts& facts) {
  if (facts.may_retry) return {State::Queued, Effect::Release | Effect::WriteLost | Effect::Enqueue};
  return {State::Finishing, kFreeAndFinish};
}

Transition accepting(Event event, const Facts& facts) {
  switch (event) {
    case Event::Accepted:
      if (facts.stop) return {State::Finishing, Effect::AnswerAccepted | Effect::WriteFinish};
      return {State::Queued, Effect::AnswerAccepted | Effect::Enqueue};
    case Event::Refused: return {State::Settled, Effect::AnswerRefused};
    case Event::Assigned: return {State::Admitting, Effect::WriteStart};
    case Event::StopWanted: return {State::Accepting};  // remembered in the facts
    default: return {State::Accepting, Effect::None, false};
  }
}

/// The journal answers in order: first for the job, then for its start, and refuses the start of a job it refused. Only
/// a start that it will not even take comes before.
Transition admitting(Event event, const Facts& facts) {
  switch (event) {
    case Event::Accepted: return {State::Starting, Effect::AnswerAccepted};
    case Event::StartRefused:
      if (facts.refused) return {State::Settled, Effect::Release | Effect::AnswerRefused};
      return {State::Accepting, Effect::Release};
    case Event::Refused:
    case Event::StopWanted:
    case Event::LostUnentered: return {State::Admitting};  // remembered in the facts
    default: return {State::Admitting, Effect::None, false};
  }
}

Transition queued(Event event) {
  switch (event) {
    case Event::Assigned: return {State::Starting, Effect::WriteStart};
    case Event::StopWanted: return {State::Finishing, Effect::Dequeue | Effect::WriteFinish};
    default: return {State::Queued, Effect::None, false};
  }
}

Transition starting(Event event, const Facts& facts) {
  switch (event) {
    case Event::StartWritten:
      if (facts.stop) return {State::Finishing, kFreeAndFinish};
      if (facts.worker_gone) return {State::Queued, Effect::Release | Effect::WriteRequeue | Effect::EnqueueFirst};
      return {State::HandedOut, Effect::Send};
    case Event::StartRefused:
      if (facts.stop) return {State::Finishing, kFreeAndFinish};
      return {State::Queued, Effect::Release | Effect::Enqueue};
    case Event::StopWanted:
    case Event::LostUnentered: return {State::Starting};  // remembered in the facts
    default: return {State::Starting, Effect::None, false};
  }
}

Transition handed_out(Event event, const Facts& facts) {
  switch (event) {
    case Event::Answered: return lost(facts);  // a failure may be tried again
    case Event::HandedBack: return {State::Queued, Effect::Release | Effect::WriteRequeue | Effect::EnqueueFirst};
    case Event::LostUnentered:
      if (!facts.requeue_unentered) return lost(facts);
      return {State::Queued, Effect::Release | Effect::WriteRequeue | Effect::EnqueueFirst};
    case Event::LostEntered: return lost(facts);
    case Event::StopWanted: return {State::Stopping, Effect::SendCancel | Effect::ArmStep};
    default: return {State::HandedOut, Effect::None, false};
  }
}

/// On the ladder every way out ends the attempt; what differs is what the next step does.
Transition on_ladder(State state, Event event, const Facts& facts) {
  switch (event) {
    case Event::Answered:
    case Event::HandedBack:
    case Event::LostUnentered:
    case Event::LostEntered: return lost(facts);
    case Event::StepDue:
      if (state == State::Stopping) return {State::Terminating, Effect::Terminate | Effect::ArmStep};
      return {State::Killing, Effect::Kill | Effect::ArmStep};
    case Event::StopWanted: return {state};  // the first reason stands
    default: return {state, Effect::None, false};
  }
}

}  // namespace

Transition apply(State state, Event event, const Facts& facts) {
  switch (state) {
    case State::Accepting: return accepting(event, facts);
    case State::Admitting: return admitting(event, facts);
    case State::Queued: return queued(event);
    case State::Starting: return starting(event, facts);
    case State::HandedOut: return handed_out(event, facts);
    case State::Stopping:
    case State::Terminating:
    case State::Killing: return on_ladder(state, event, facts);
    case State::Finishing:
      if (event == Event::FinishWritten) return {State::Reporting, Effect::Report};
      return {state, Effect::None, event == Event::StopWanted};  // too late to stop
    case State::Reporting:
      if (event == Event::Reported) return {State::Settled};
      return {state, Effect::None, event == Event::StopWanted};
    case State::Settled: break;
  }
  return {State::Settled, Effect::None, false};
}

std::string_view to_string(State state) {
  static constexpr std::string_view kNames[kStates] = {"accepting",  "admitting", "queued",      "starting",
                                                       "handed out", "stopping",  "terminating", "killing",
                                                       "finishing",  "reporting", "settled"};
  return kNames[static_cast<int>(state)];
}

std::string_view to_string(Event event) {
  static constexpr std::string_view kNames[kEvents] = {
      "accepted",       "refused",      "assigned",    "start written", "start refused",  "answered", "handed back",
      "lost unentered", "lost entered", "stop wanted", "step due",      "finish written", "reported"};
  return kNames[static_cast<int>(event)];
}

}  // namespace bulkhead
