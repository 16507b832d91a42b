// Disks that are full, read-only or broken: who is told, what is kept, and that work goes on when the disk is back.

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "supervisor/journal/error.hpp"
#include "tests/journal/fault_vfs.hpp"
#include "tests/journal/harness.hpp"

namespace bulkhead::journal::testing {
namespace {

using Mode = FaultVfs::Mode;

struct Failure {
  const char* name;
  Mode mode;
  std::errc error;
};

class Disk : public ::testing::TestWithParam<Failure> {
 protected:
  Options options() {
    Options options;
    options.directory = directory_ / "state";
    options.vfs = vfs_.name();
    return options;
  }

  TemporaryDirectory directory_;
  FaultVfs vfs_;
};

INSTANTIATE_TEST_SUITE_P(Failures, Disk,
                         ::testing::Values(Failure{"full", Mode::Full, std::errc::no_space_on_device},
                                           Failure{"read_only", Mode::ReadOnly, std::errc::read_only_file_system},
                                           Failure{"broken", Mode::BadWrite, std::errc::io_error},
                                           Failure{"sync_fails", Mode::BadSync, std::errc::io_error}),
                         [](const auto& named) { return std::string(named.param.name); });

TEST_P(Disk, NewJobsAreRefusedWithTheReason) {
  Session journal(options());
  vfs_.set_mode(GetParam().mode);
  EXPECT_EQ(journal.accept(make_job("a")), GetParam().error);
  EXPECT_FALSE(journal->health().writable);
  EXPECT_EQ(journal->health().error, GetParam().error);
  EXPECT_FALSE(journal->health().text.empty());
  EXPECT_EQ(journal.start(make_job("a"), journal->next_run()), Fault::UnknownJob);

  vfs_.set_mode(Mode::Good);
  ASSERT_TRUE(journal.run([&] { return journal->health().writable; })) << "it finds out by itself";
  EXPECT_FALSE(journal.accept(make_job("a"))) << "and its id is free";
}

TEST_P(Disk, AStartThatCouldNotBeWrittenIsNoStart) {
  Session journal(options());
  Job job = make_job("a");
  journal.accept(job);
  RunNumber run = journal->next_run();
  vfs_.set_mode(GetParam().mode);
  EXPECT_EQ(journal.start(job, run), GetParam().error);
  vfs_.set_mode(Mode::Good);
  ASSERT_TRUE(journal.run([&] { return journal->health().writable; }));
  EXPECT_FALSE(journal.start(job, run + 1));
  EXPECT_FALSE(journal.chunk(job, run + 1, 1, "x"));
}

TEST_P(Disk, ResultsAreKeptUntilTheDiskIsBack) {
  Job a = make_job("a"), b = make_job("b"), c = make_job("c");
  {
    Session journal(options());
    RunNumber run = journal->next_run();
    for (const Job& job : {a, b, c}) {
      journal.accept(job);
      journal.start(job, run++);
    }
    vfs_.set_mode(GetParam().mode);
    EXPECT_EQ(journal.finish(a, completed("\"of a\"", 4'000'000'000'000)), GetParam().error) << "said at once";
    EXPECT_EQ(journal.chunk(b, journal->next_run() + 1, 1, "x"), GetParam().error)
        << "a chunk is the caller's to repeat";
    EXPECT_EQ(journal.finish(b, completed("\"of b\"", 4'000'000'000'000)), GetParam().error);
    journal->settle(a);
    journal->requeue(c, run - 1, false);
    journal.drain();
    EXPECT_EQ(journal->health().unsaved, 4u);
    auto found = journal.lookup("a");
    ASSERT_TRUE(found) << "it was reported; it may have been delivered";
    EXPECT_EQ(found->outcome.output.bytes(), "\"of a\"");
    EXPECT_EQ(found->job.submitted_ms, a.submitted_ms);
    EXPECT_EQ(journal.finish(b, completed("\"twice\"")), GetParam().error);

    vfs_.set_mode(Mode::Good);
    ASSERT_TRUE(journal.run([&] { return journal->health().writable && journal->health().unsaved == 0; }));
    EXPECT_TRUE(journal.lookup("a"));
  }
  Session journal(options());
  auto open = journal->recover();
  ASSERT_EQ(open.size(), 2u) << "a is settled";
  EXPECT_EQ(open[0].job.id, "b");
  ASSERT_TRUE(open[0].outcome);
  EXPECT_EQ(open[0].outcome->output.bytes(), "\"of b\"");
  EXPECT_EQ(open[1].job.id, "c");
  EXPECT_EQ(open[1].run, 0u);
  EXPECT_EQ(open[1].attempts, 0) << "its attempt was given back";
  EXPECT_TRUE(journal.lookup("a"));
}

TEST_P(Disk, ClosingDoesNotWaitForADiskThatIsGone) {
  Session journal(options());
  Job job = make_job("a");
  journal.accept(job);
  vfs_.set_mode(GetParam().mode);
  EXPECT_EQ(journal.finish(job, completed("1")), GetParam().error);
  journal->settle(job);
}

TEST_P(Disk, ComesAndGoes) {
  std::vector<std::string> accepted;
  {
    Session journal(options());
    for (int i = 0; i < 60; ++i) {
      vfs_.set_mode(i % 3 == 1 ? GetParam().mode : Mode::Good);
      Job job = make_job(std::to_string(i));
      std::error_code error = journal.accept(job);
      if (!error) accepted.push_back(job.id);
      if (i % 3 == 2) {
        ASSERT_TRUE(journal.run([&] { return journal->health().writable; }));
      }
    }
    vfs_.set_mode(Mode::Good);
  }
  EXPECT_GE(accepted.size(), 20u);
  Session journal(options());
  auto open = journal->recover();
  ASSERT_EQ(open.size(), accepted.size());
  for (std::size_t i = 0; i < open.size(); ++i) EXPECT_EQ(open[i].job.id, accepted[i]);
}

TEST_P(Disk, AJournalThatCannotBeOpenedSaysSo) {
  vfs_.set_mode(GetParam().mode);
  Loop loop;
  try {
    open(options(), loop.waker());
    ADD_FAILURE() << "it opened";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), GetParam().error) << error.what();
  }
}

TEST(Journal, RefusesNewJobsAtItsSizeLimitAndKeepsWhatItHas) {
  TemporaryDirectory directory;
  std::atomic<std::int64_t> now{1'700'000'000'000};
  Options options;
  options.directory = directory / "state";
  options.max_bytes = 1 << 20;
  options.wall_ms = [&] { return now.load(); };
  Session journal(std::move(options));
  std::vector<Job> jobs;
  std::error_code error;
  for (int i = 0; i < 100 && !error; ++i) {
    jobs.push_back(make_job(std::to_string(i), std::string(100'000, 'x')));
    error = journal.accept(jobs.back());
  }
  EXPECT_EQ(error, Fault::SizeLimit);
  EXPECT_EQ(error, std::errc::no_space_on_device);
  EXPECT_TRUE(journal->health().writable);
  jobs.pop_back();
  EXPECT_GE(jobs.size(), 8u);
  for (const Job& job : jobs) EXPECT_FALSE(journal.finish(job, completed("\"" + std::string(90'000, 'y') + "\"", now)));
  for (const Job& job : jobs) journal->settle(job);
  journal.drain();
  EXPECT_EQ(journal.accept(make_job("big", std::string(500'000, 'x'))), Fault::SizeLimit)
      << "the results take the room";
  now += 31 * 60'000;
  journal->expire("nobody", 0);  // has it look at the clock again, which it trusts for up to a minute
  // Retention gives the room back, in a sweep that nothing announces.
  EXPECT_TRUE(eventually([&] { return !journal.accept(make_job("big", std::string(500'000, 'x'))); }));
}

TEST(Journal, RefusesNewJobsWhenTooMuchWaitsForTheDisk) {
  TemporaryDirectory directory;
  FaultVfs vfs;
  std::mutex slow;
  vfs.in_sync = [&] { std::lock_guard wait(slow); };
  Options options;
  options.directory = directory / "state";
  options.vfs = vfs.name();
  options.max_backlog = 100;
  Session journal(std::move(options));
  int accepted = 0, refused = 0;
  std::unique_lock hold(slow);
  for (int i = 0; i < 150; ++i) {
    journal->accept(make_job(std::to_string(i)), [&](std::error_code error) {
      if (error == Fault::QueueFull) {
        ++refused;
      } else {
        EXPECT_FALSE(error);
        ++accepted;
      }
    });
  }
  EXPECT_EQ(refused, 50) << "at once";
  EXPECT_EQ(journal->backlog(), 100u);
  hold.unlock();
  ASSERT_TRUE(journal.run([&] { return accepted == 100; }));
}

}  // namespace
}  // namespace bulkhead::journal::testing
