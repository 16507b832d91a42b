#include "supervisor/job/scheduler.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "supervisor/job/deadlines.hpp"

namespace bulkhead {
namespace {

using Time = Scheduler::Time;
constexpr Time kNow{std::chrono::seconds(100)};

struct Place : QueuePlace {};

TEST(Scheduler, ServesInOrderOfArrival) {
  Scheduler scheduler;
  Place a, b, c;
  scheduler.set_room(1, 3, 0);
  for (Place* job : {&a, &b, &c}) scheduler.submit(*job, kNow);
  EXPECT_EQ(scheduler.next(kNow)->job, &a);
  EXPECT_EQ(scheduler.next(kNow)->job, &b);
  EXPECT_EQ(scheduler.next(kNow)->job, &c);
  EXPECT_FALSE(scheduler.next(kNow));
}

TEST(Scheduler, AJobPutBackComesFirst) {
  Scheduler scheduler;
  Place a, b;
  scheduler.set_room(1, 1, 0);
  scheduler.submit(a, kNow);
  scheduler.submit_first(b);
  EXPECT_EQ(scheduler.next(kNow)->job, &b);
}

TEST(Scheduler, TheWindowIsUsedOnlyWhenNobodyIsIdle) {
  Scheduler scheduler;
  Place jobs[4];
  scheduler.set_room(1, 1, 2);
  scheduler.set_room(2, 1, 0);
  for (Place& job : jobs) scheduler.submit(job, kNow);
  auto first = scheduler.next(kNow), second = scheduler.next(kNow);
  EXPECT_FALSE(first->in_window);
  EXPECT_FALSE(second->in_window);
  EXPECT_NE(first->worker, second->worker);
  auto third = scheduler.next(kNow);
  EXPECT_TRUE(third->in_window);
  EXPECT_EQ(third->worker, 1u);
  EXPECT_EQ(scheduler.next(kNow)->worker, 1u);
}

TEST(Scheduler, AFullWindowWaits) {
  Scheduler scheduler;
  Place jobs[3];
  scheduler.set_room(1, 1, 1);
  for (Place& job : jobs) scheduler.submit(job, kNow);
  EXPECT_TRUE(scheduler.next(kNow));
  EXPECT_TRUE(scheduler.next(kNow));
  EXPECT_FALSE(scheduler.next(kNow));
  scheduler.release(1);
  EXPECT_TRUE(scheduler.next(kNow));
}

TEST(Scheduler, PrefersTheChildThatWasFreeLast) {
  Scheduler scheduler;
  Place jobs[3];
  scheduler.set_room(1, 1, 0);
  scheduler.set_room(2, 1, 0);
  scheduler.submit(jobs[0], kNow);
  scheduler.submit(jobs[1], kNow);
  scheduler.next(kNow);
  scheduler.next(kNow);
  scheduler.release(2);
  scheduler.release(1);
  scheduler.submit(jobs[2], kNow);
  EXPECT_EQ(scheduler.next(kNow)->worker, 1u);
}

TEST(Scheduler, ARetiredChildGetsNothingMore) {
  Scheduler scheduler;
  Place job;
  scheduler.set_room(1, 4, 4);
  scheduler.retire(1);
  scheduler.submit(job, kNow);
  EXPECT_FALSE(scheduler.next(kNow));
  EXPECT_EQ(scheduler.free_now(), 0);
}

TEST(Scheduler, ADelayedJobWaitsForItsTimeAndCanBeRemoved) {
  Scheduler scheduler;
  Place late, now;
  scheduler.set_room(1, 2, 0);
  late.not_before = kNow + milliseconds(50);
  scheduler.submit(late, kNow);
  scheduler.submit(now, kNow);
  EXPECT_EQ(scheduler.queued(), 2u);
  EXPECT_EQ(*scheduler.wake_at(), kNow + milliseconds(50));
  EXPECT_EQ(scheduler.next(kNow)->job, &now);
  EXPECT_FALSE(scheduler.next(kNow));
  EXPECT_EQ(scheduler.next(kNow + milliseconds(50))->job, &late);
  late.not_before = kNow + milliseconds(90);
  scheduler.submit(late, kNow);
  scheduler.remove(late);
  EXPECT_EQ(scheduler.queued(), 0u);
  EXPECT_FALSE(scheduler.wake_at());
}

TEST(Scheduler, CountsWhatCouldStartNow) {
  Scheduler scheduler;
  Place a, b, c;
  scheduler.set_room(1, 2, 5);
  EXPECT_EQ(scheduler.free_now(), 2);
  for (Place* job : {&a, &b, &c}) scheduler.submit(*job, kNow);
  scheduler.next(kNow);
  EXPECT_EQ(scheduler.free_now(), 1);
  scheduler.next(kNow);
  scheduler.next(kNow);  // into the window
  EXPECT_EQ(scheduler.free_now(), 0);
  scheduler.release(1);
  EXPECT_EQ(scheduler.free_now(), 0);
  scheduler.release(1);
  EXPECT_EQ(scheduler.free_now(), 1);
  scheduler.set_room(1, 8, 0);
  EXPECT_EQ(scheduler.free_now(), 7);
  scheduler.remove_worker(1);
  EXPECT_EQ(scheduler.free_now(), 0);
}

struct Timed : Deadlined {};

TEST(Deadlines, AgreeWithASortedListThroughRandomChanges) {
  std::mt19937 random(7);
  std::vector<Timed> items(200);
  Deadlines<Timed> deadlines;
  for (int step = 0; step < 20'000; ++step) {
    Timed& item = items[random() % items.size()];
    if (random() % 3 == 0)
      deadlines.clear(item);
    else
      deadlines.set(item, Time(milliseconds(random() % 1000)));
    auto earliest = std::min_element(items.begin(), items.end(), [](const Timed& a, const Timed& b) {
      auto key = [](const Timed& t) { return t.heap_place == Deadlined::kNone ? Time::max() : t.deadline; };
      return key(a) < key(b);
    });
    if (earliest->heap_place == Deadlined::kNone)
      EXPECT_FALSE(deadlines.earliest());
    else
      ASSERT_EQ(*deadlines.earliest(), earliest->deadline);
  }
  Time last{};
  while (Timed* due = deadlines.pop_due(Time::max())) {
    EXPECT_GE(due->deadline, last);
    last = due->deadline;
  }
}

}  // namespace
}  // namespace bulkhead
