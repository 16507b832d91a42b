// The journal's file: what is in it after a restart, who may read it, how it shrinks, and what becomes of other versions.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <vector>

#include "supervisor/journal/error.hpp"
#include "supervisor/journal/maintenance.hpp"
#include "supervisor/journal/schema.hpp"
#include "supervisor/journal/sqlite.hpp"
#include "supervisor/journal/sqlite_journal.hpp"
#include "tests/journal/fault_vfs.hpp"
#include "tests/journal/harness.hpp"

namespace bulkhead::journal::testing {
namespace {

class File : public ::testing::Test {
 protected:
  Options options() {
    Options options;
    options.directory = directory_ / "state";
    options.vfs = vfs_.name();
    options.wall_ms = [this] { return now_ms_.load(); };
    return options;
  }
  std::string path(const std::string& suffix = "") { return (directory_ / "state/journal.db").string() + suffix; }
  std::int64_t count(const char* sql) { return Connection(path(), vfs_.name()).number(sql); }
  std::string content(const std::string& suffix = "") {
    std::ifstream in(path(suffix), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  std::string refusal(std::errc wanted) {
    try {
      Session journal(options());
      ADD_FAILURE() << "it opened";
    } catch (const std::system_error& error) {
      EXPECT_EQ(error.code(), wanted) << error.what();
      return error.what();
    }
    return {};
  }

  TemporaryDirectory directory_;
  FaultVfs vfs_;  // a good one
  std::atomic<std::int64_t> now_ms_{1'700'000'000'000};
};

TEST_F(File, AfterARestartEveryOpenJobIsThereInOrder) {
  RunNumber run = 0;
  Job waiting = make_job("waiting"), started = make_job("started"), again = make_job("again"),
      returned = make_job("returned"), finished = make_job("finished"), settled = make_job("settled");
  started.extra = payload(R"({"s3Config":{}})");
  started.policy.execution_timeout = milliseconds(7'000);
  started.policy.ttl = milliseconds(9'000);
  started.policy.low_priority = true;
  started.policy.max_attempts = 3;
  started.webhook = "https://example.org/hook";
  started.idempotency_key = "key";
  started.sync = true;
  {
    Session journal(options());
    EXPECT_TRUE(journal->recover().empty());
    run = journal->next_run();
    for (const Job& job : {waiting, started, again, returned, finished, settled}) journal.accept(job);
    journal.start(started, run, 2, "worker-9");
    journal.checkpoint(started, run, "first");
    journal.checkpoint(started, run, "second");
    journal->progress(started, payload("50"));
    journal.start(again, run + 1, 1);
    journal->requeue(again, run + 1, true);
    journal.start(returned, run + 2, 1);
    journal->requeue(returned, run + 2, false);
    journal->requeue(started, run + 2, false);  // of another run: nothing
    journal.finish(finished, completed("\"done\"", now_ms_));
    journal.finish(settled, completed("\"gone\"", now_ms_));
    journal->settle(settled);
  }
  Session journal(options());
  auto open = journal->recover();
  EXPECT_TRUE(journal->recover().empty()) << "handed over once";
  ASSERT_EQ(open.size(), 5u);
  EXPECT_EQ(open[0].job.id, "waiting");
  EXPECT_EQ(open[0].attempts, 0);
  EXPECT_EQ(open[0].run, 0u);
  EXPECT_FALSE(open[0].outcome);
  EXPECT_TRUE(open[0].job.extra.empty());
  EXPECT_TRUE(open[0].checkpoint.empty());
  EXPECT_EQ(open[0].job.policy.execution_timeout, milliseconds(600'000));

  EXPECT_EQ(open[1].job.id, "started");
  EXPECT_EQ(open[1].attempts, 2);
  EXPECT_EQ(open[1].run, run);
  EXPECT_EQ(open[1].started_ms, 1'000);
  EXPECT_EQ(open[1].worker_id, "worker-9");
  EXPECT_EQ(open[1].checkpoint.bytes(), "second");
  EXPECT_EQ(open[1].job.extra.bytes(), R"({"s3Config":{}})");
  EXPECT_EQ(open[1].job.input.bytes(), started.input.bytes());
  EXPECT_EQ(open[1].job.policy.execution_timeout, milliseconds(7'000));
  EXPECT_EQ(open[1].job.policy.ttl, milliseconds(9'000));
  EXPECT_TRUE(open[1].job.policy.low_priority);
  EXPECT_EQ(open[1].job.policy.max_attempts, 3);
  EXPECT_EQ(open[1].job.webhook, "https://example.org/hook");
  EXPECT_EQ(open[1].job.idempotency_key, "key");
  EXPECT_EQ(open[1].job.submitted_ms, started.submitted_ms);
  EXPECT_TRUE(open[1].job.sync);

  EXPECT_EQ(open[2].job.id, "again");
  EXPECT_EQ(open[2].attempts, 1);
  EXPECT_EQ(open[2].run, 0u);
  EXPECT_EQ(open[3].job.id, "returned");
  EXPECT_EQ(open[3].attempts, 0);
  EXPECT_EQ(open[4].job.id, "finished");
  ASSERT_TRUE(open[4].outcome);
  EXPECT_EQ(open[4].outcome->output.bytes(), "\"done\"");

  EXPECT_GT(journal->next_run(), run + 2);
  EXPECT_EQ(journal.start(finished, journal->next_run()), Fault::Stale) << "a finished result is not computed again";
  EXPECT_EQ(journal.accept(waiting), Fault::Duplicate);
  EXPECT_FALSE(journal.finish(open[1].job, failed("\"lost\"", now_ms_)));
  EXPECT_TRUE(journal.lookup("settled"));
}

TEST_F(File, AfterARestartChunksAreCountedOn) {
  Job read = make_job("read"), lost = make_job("lost"), quiet = make_job("quiet");
  {
    Session journal(options());
    RunNumber run = journal->next_run();
    for (const Job& job : {read, lost, quiet}) {
      journal.accept(job);
      journal.start(job, run++);
    }
    run = journal->next_run();
    for (std::uint32_t i = 1; i <= 3; ++i) journal.chunk(read, run, i, "x");
    journal->polled("read", 2);
    for (std::uint32_t i = 1; i <= 2; ++i) journal.chunk(lost, run + 1, i, "x");
    journal->polled("lost", 1);
    journal->requeue(lost, run + 1, true);
    journal.start(lost, run + 10, 2);
    journal.drain();
  }
  Session journal(options());
  auto open = journal->recover();
  ASSERT_EQ(open.size(), 3u);
  EXPECT_EQ(open[0].last_chunk, 3u);
  EXPECT_EQ(open[0].polled, 2u);
  EXPECT_EQ(open[1].last_chunk, 2u) << "the next attempt's numbers begin behind those of the lost one";
  EXPECT_EQ(open[1].polled, 2u);
  EXPECT_EQ(open[2].last_chunk, 0u);
  EXPECT_EQ(open[2].polled, 0u);
}

TEST_F(File, ManyWritesShareACommit) {
  std::mutex gate;
  vfs_.in_sync = [&] { std::lock_guard wait(gate); };
  Loop loop;
  SqliteJournal journal(options(), loop.waker());
  std::uint64_t before = journal.commits();
  int accepted = 0;
  {
    std::lock_guard closed(gate);  // the first commit takes its time; the rest gathers behind it
    for (int i = 0; i < 2'000; ++i) {
      journal.accept(make_job(std::to_string(i)), [&](std::error_code error) {
        EXPECT_FALSE(error);
        ++accepted;
      });
    }
  }
  ASSERT_TRUE(loop.run(journal, [&] { return accepted == 2'000; }));
  EXPECT_LE(journal.commits() - before, 5u);
}

TEST_F(File, WhatNobodyWaitsForCausesNoSyncOfItsOwn) {
  Loop loop;
  SqliteJournal journal(options(), loop.waker());
  constexpr int kJobs = 50;
  for (int i = 0; i < kJobs; ++i) {
    Job job = make_job(std::to_string(i));
    bool done = false;
    journal.accept(job, [&](std::error_code) {
      journal.finish(job, completed("1", now_ms_), [&](std::error_code) {
        journal.settle(job);
        done = true;
      });
    });
    ASSERT_TRUE(loop.run(journal, [&] { return done; }));
  }
  // Two for each life. A settlement rides with the next acceptance, unless that is too slow in coming.
  EXPECT_LT(journal.commits(), 2u * kJobs + kJobs);
  ASSERT_TRUE(loop.run(journal, [&] { return journal.backlog() == 0; }));
}

TEST_F(File, LookupsDoNotWaitForTheDisk) {
  std::mutex gate;
  vfs_.in_sync = [&] { std::lock_guard wait(gate); };
  Session journal(options());
  Job job = make_job("a");
  journal.accept(job);
  journal.finish(job, completed("1", now_ms_));
  bool accepted = false;
  std::unique_lock closed(gate);
  journal->accept(make_job("b"), [&](std::error_code) { accepted = true; });
  EXPECT_TRUE(journal.lookup("a"));
  EXPECT_FALSE(accepted);
  closed.unlock();
  EXPECT_TRUE(journal.run([&] { return accepted; }));
}

TEST_F(File, IsForTheOwnerAlone) {
  mode_t mask = umask(0);
  Session journal(options());
  journal.accept(make_job("a"));
  umask(mask);
  for (const char* suffix : {"", "-wal", "-shm"}) {
    struct stat status {};
    ASSERT_EQ(stat(path(suffix).c_str(), &status), 0) << suffix;
    EXPECT_EQ(status.st_mode & 07777, 0600u) << suffix;
  }
}

TEST_F(File, ASecondSupervisorIsRefused) {
  Session journal(options());
  std::string text = refusal(std::errc::device_or_resource_busy);
  EXPECT_NE(text.find("held by process " + std::to_string(getpid())), std::string::npos) << text;
}

TEST_F(File, StorageKeysAreErasedWhenTheJobEnds) {
  Session journal(options());
  Job job = make_job("a");
  job.extra = payload("{\"s3Config\":{\"accessSecret\":\"TOPSECRET\"}}" + std::string(9'000, ' '));
  journal.accept(job);
  EXPECT_NE((content() + content("-wal")).find("TOPSECRET"), std::string::npos);
  journal.finish(job, completed("1", now_ms_));
  journal->settle(job);
  EXPECT_TRUE(eventually([&] { return (content() + content("-wal")).find("TOPSECRET") == std::string::npos; }));
  EXPECT_EQ(count("SELECT count(*) FROM extras"), 0);
}

TEST_F(File, ExpiredJobsLeaveNothing) {
  Session journal(options());
  for (int i = 0; i < 1'000; ++i) {
    Job job = make_job(std::to_string(i));
    journal->accept(job, [](std::error_code) {});
    journal->start(job, journal->next_run() + static_cast<RunNumber>(i), 1, "w", 1, [](std::error_code) {});
    journal->chunk(job, journal->next_run() + static_cast<RunNumber>(i), 1, payload("x"), [](std::error_code) {});
    journal->finish(job, completed("1", now_ms_), [](std::error_code) {});
    if (i != 7) journal->settle(job);
  }
  journal.drain();
  now_ms_ += 31 * 60'000;
  journal->expire("nobody", 0);  // has it look at the clock again, which it trusts for up to a minute
  EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM jobs") == 1; })) << "undelivered, one stays";
  EXPECT_EQ(count("SELECT count(*) FROM outcomes"), 1);
  EXPECT_EQ(count("SELECT count(*) FROM chunks"), 1);
  journal->settle(make_job("7"));
  EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM jobs") == 0; }));
  EXPECT_EQ(count("SELECT count(*) FROM chunks"), 0);
}

TEST_F(File, AForgottenLongStreamIsGoneAtOnceAndRemovedInPieces) {
  Session journal(options());
  Job job = make_job("a");
  RunNumber run = journal->next_run();
  journal.accept(job);
  journal.start(job, run);
  for (std::uint32_t i = 1; i <= 10'000; ++i) journal->chunk(job, run, i, payload("x"), [](std::error_code) {});
  journal.drain();
  EXPECT_EQ(journal.chunks("a", 9'990).size(), 11u);
  journal->forget("a");
  journal.drain();
  EXPECT_FALSE(journal.lookup("a"));
  EXPECT_TRUE(journal.chunks("a").empty());
  EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM chunks") == 0; }));
  EXPECT_EQ(count("SELECT count(*) FROM jobs"), 0);
  EXPECT_FALSE(journal.accept(job));
}

TEST_F(File, ACompletedJobsLargeInputIsGivenUp) {
  Session journal(options());
  Job big = make_job("big", std::string(100'000, 'x')), bad = make_job("bad", std::string(100'000, 'y'));
  for (const Job& job : {big, bad}) journal.accept(job);
  journal.finish(big, completed("1", now_ms_));
  journal.finish(bad, failed("1", now_ms_));
  for (const Job& job : {big, bad}) journal->settle(job);
  journal.drain();
  EXPECT_EQ(count("SELECT count(*) FROM jobs WHERE id = 'big' AND input IS NULL"), 1);
  EXPECT_EQ(journal.lookup("bad")->job.input.size(), 100'000u) << "it may be retried";
}

TEST_F(File, GivesRoomBackToTheFileSystem) {
  Session journal(options());
  for (int i = 0; i < 50; ++i) journal.accept(make_job(std::to_string(i), std::string(200'000, 'x')));
  EXPECT_TRUE(eventually([&] { return std::filesystem::file_size(path()) > 9'000'000; }));
  for (int i = 0; i < 50; ++i) journal->forget(std::to_string(i));
  journal.drain();
  EXPECT_TRUE(eventually([&] { return std::filesystem::file_size(path()) < 1'500'000; }));
  EXPECT_TRUE(eventually([&] { return std::filesystem::file_size(path("-wal")) == 0; }));
}

TEST_F(File, TheLogStaysShortUnderLoadAndKeepsItsBlocks) {
  Options small = options();
  small.log_pages = 50;
  Session journal(small);
  std::uintmax_t longest = 0, before = 0;
  int cut = 0;
  for (int i = 0; i < 6'000; ++i) {
    journal.accept(make_job(std::to_string(i), std::string(1'000, 'x')));
    std::uintmax_t size = std::filesystem::file_size(path("-wal"));
    longest = std::max(longest, size);
    if (size < before) ++cut;
    before = size;
  }
  // Written all in all: some 80 MB in a third of a second. It grows while it is copied back, which takes a few of these
  // milliseconds, and a hundred where others want the processors.
  EXPECT_LT(longest, 40'000'000u);
  // It is copied back dozens of times. Cut is it only in a quiet half second, of which a busy machine may cause a few.
  EXPECT_LE(cut, 5);
}

TEST_F(File, RunNumbersAreOnRecordBeforeTheyAreUsed) {
  RunNumber used = 0;
  {
    Session journal(options());
    Job job = make_job("a");
    journal.accept(job);
    used = journal->next_run() + 5'000'000;  // far beyond what was reserved at first
    journal.start(job, used);
    EXPECT_GT(count("SELECT value FROM meta WHERE name = 'next_run'"), static_cast<std::int64_t>(used));
  }
  Session journal(options());
  EXPECT_GT(journal->next_run(), used);
}

TEST_F(File, ItsThreadsBlockSignals) {
  // Each thread of this process but the first is the journal's.
  Session journal(options());
  int threads = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    if (task.path().filename() == std::to_string(getpid())) continue;
    std::ifstream status(task.path() / "status");
    std::string line, name;
    while (std::getline(status, line)) {
      if (line.starts_with("Name:")) name = line.substr(6);
      if (!name.starts_with("journal-") || !line.starts_with("SigBlk:")) continue;
      ++threads;
      EXPECT_NE(std::stoull(line.substr(8), nullptr, 16) & (1u << (SIGTERM - 1)), 0u) << name;
    }
  }
  EXPECT_EQ(threads, 3);
}

// ---- versions ------------------------------------------------------------------------------------------------------

TEST_F(File, SomethingElseIsNotTouched) {
  std::filesystem::create_directory(directory_ / "state");
  {
    std::ofstream(path()) << "not a database at all, but long enough to be taken for one: " << std::string(2'000, 'x');
  }
  EXPECT_THROW(Session{options()}, std::system_error);
  EXPECT_EQ(content().substr(0, 5), "not a");
  std::filesystem::remove(path());
  { std::ofstream touch(path()); }
  Connection(path()).execute("CREATE TABLE other (x)");
  refusal(std::errc::invalid_argument);
}

TEST_F(File, ANewerJournalIsRefusedWithTheWayBack) {
  { Session journal(options()); }
  Connection(path()).execute("PRAGMA user_version = 99");
  std::string text = refusal(std::errc::not_supported);
  EXPECT_NE(text.find("format version 99"), std::string::npos) << text;
  EXPECT_NE(text.find("--state-dir"), std::string::npos) << text;
  EXPECT_NE(text.find(backup_name(static_cast<int>(schema_steps().size()))), std::string::npos) << text;
}

/// A journal as an earlier version left it: tests/journal/version_N.sql.
void write_version(int version, const std::filesystem::path& file) {
  std::filesystem::create_directory(file.parent_path());
  { std::ofstream touch(file); }
  const char* source = std::getenv("BULKHEAD_SOURCE");
  std::ifstream in(std::string(source != nullptr ? source : ".") + "/tests/journal/version_" + std::to_string(version) +
                   ".sql");
  ASSERT_TRUE(in);
  std::string sql((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  Connection(file.string()).execute(sql.c_str());
}

TEST_F(File, VersionTwoIsRead) {
  write_version(2, path());
  EXPECT_EQ(verify(path()), std::vector<std::string>{});
  Session journal(options());
  auto open = journal->recover();
  ASSERT_EQ(open.size(), 3u);
  EXPECT_EQ(open[0].job.policy, Policy{});
  const Policy& policy = open[1].job.policy;
  EXPECT_EQ(policy.retry_on, kLostByCrash | kLostByTimeout);
  EXPECT_EQ(policy.retry_backoff_min, milliseconds(1'000));
  EXPECT_EQ(policy.retry_backoff_max, milliseconds(60'000));
  EXPECT_EQ(policy.stall_timeout, milliseconds(5'000));
  EXPECT_TRUE(open[1].from_checkpoint);
  EXPECT_TRUE(open[1].cancelled);
  EXPECT_FALSE(open[2].cancelled);
  EXPECT_TRUE(open[1].history.bytes().starts_with(R"({"attempt":1,)"));
  auto suspects = journal->suspects();
  ASSERT_EQ(suspects.size(), 1u);
  EXPECT_EQ(suspects[0].build, "build");
  EXPECT_EQ(suspects[0].crashes, 2);
  std::optional<DeadLetter> letter;
  bool answered = false;
  journal->dead_letter("dead-u1", [&](std::optional<DeadLetter> found) {
    letter = std::move(found);
    answered = true;
  });
  ASSERT_TRUE(journal.loop().run(*journal, [&] { return answered; }));
  ASSERT_TRUE(letter);
  EXPECT_EQ(letter->job.input.bytes(), R"({"n":3})");
  EXPECT_EQ(letter->job.idempotency_key, "key-3");
  ASSERT_EQ(letter->records.size(), 1u);
  EXPECT_EQ(letter->records[0].bytes(), R"("dead record")");
  Job next = make_job("next");
  journal.accept(next);
  EXPECT_EQ(count("SELECT key FROM jobs WHERE id = 'next'"), 8);
}

TEST_F(File, VersionOneBecomesTheNextAndIsKept) {
  write_version(1, path());
  { Session journal(options()); }
  EXPECT_EQ(count("PRAGMA user_version"), static_cast<std::int64_t>(schema_steps().size()));
  EXPECT_TRUE(std::filesystem::exists(directory_ / "state" / backup_name(1)));
  EXPECT_EQ(verify(directory_ / "state" / backup_name(1)), std::vector<std::string>{});
  EXPECT_EQ(verify(path()), std::vector<std::string>{});
}

TEST_F(File, VersionOneIsRead) {
  write_version(1, path());
  Session journal(options());
  auto open = journal->recover();
  ASSERT_EQ(open.size(), 3u);
  EXPECT_EQ(open[0].job.id, "waiting-u1");
  EXPECT_EQ(open[0].job.input.bytes(), R"({"n":1})");
  EXPECT_EQ(open[0].job.extra.bytes(), R"({"s3Config":{"accessId":"a"}})");
  EXPECT_EQ(open[1].job.id, "running-u1");
  EXPECT_EQ(open[1].run, 1'000'001u);
  EXPECT_EQ(open[1].attempts, 2);
  EXPECT_EQ(open[1].checkpoint.bytes(), R"({"step":3})");
  EXPECT_EQ(open[2].job.id, "finished-u1");
  ASSERT_TRUE(open[2].outcome);
  EXPECT_EQ(open[2].outcome->status, Status::Failed);
  EXPECT_EQ(open[2].outcome->error_type, "HandlerError");
  EXPECT_EQ(journal.chunks("running-u1").size(), 2u);
  auto settled = journal.lookup("sync-settled-u1");
  ASSERT_TRUE(settled);
  EXPECT_EQ(settled->outcome.output.bytes(), R"({"ok":true})");
  EXPECT_EQ(settled->outcome.execution_ms, 250);
  EXPECT_EQ(journal->next_run(), 2'000'001u);
}

class Migration : public File {
 protected:
  static constexpr const char* kNext = "ALTER TABLE jobs ADD COLUMN colour TEXT; INSERT INTO meta VALUES ('colour', 1)";
  std::vector<const char*> steps(const char* next) {
    std::vector<const char*> all(schema_steps().begin(), schema_steps().end());
    all.push_back(next);
    return all;
  }
};

TEST_F(Migration, GoesForwardInOneStepAndKeepsWhatWas) {
  {
    Session journal(options());
    journal.accept(make_job("a"));
  }
  auto version = static_cast<int>(schema_steps().size());
  Connection connection(path());
  std::vector<int> before;
  auto keep = [&](int from) { before.push_back(from); };
  migrate(connection, steps(kNext), path(), keep);
  EXPECT_EQ(before, std::vector<int>{version});
  EXPECT_EQ(connection.number("PRAGMA user_version"), version + 1);
  EXPECT_EQ(connection.number("SELECT count(*) FROM jobs WHERE colour IS NULL"), 1);
  migrate(connection, steps(kNext), path(), keep);
  EXPECT_EQ(before.size(), 1u) << "there is nothing left to do";
}

TEST_F(Migration, KeepsAJournalToGoBackTo) {
  {
    Session journal(options());
    journal.accept(make_job("a"));
  }
  auto version = static_cast<int>(schema_steps().size());
  {
    StateDirectory state(directory_ / "state");
    Connection connection(path());
    for (int twice = 0; twice < 2; ++twice) back_up(connection, state, version);
    migrate(connection, steps(kNext), path(), [](int) {});
  }
  refusal(std::errc::not_supported);
  std::filesystem::path backup = directory_ / "state" / backup_name(version);
  EXPECT_EQ(std::filesystem::status(backup).permissions(), std::filesystem::perms(0600));
  std::filesystem::rename(backup, path());
  std::filesystem::remove(path("-wal"));
  Session journal(options());
  auto open = journal->recover();
  ASSERT_EQ(open.size(), 1u);
  EXPECT_EQ(open[0].job.id, "a");
}

TEST_F(Migration, ThatFailsLeavesTheJournalAsItWas) {
  { Session journal(options()); }
  auto version = static_cast<int>(schema_steps().size());
  {
    Connection connection(path());
    EXPECT_THROW(migrate(connection, steps("INSERT INTO meta VALUES ('x', 1); SYNTAX ERROR"), path(), [](int) {}),
                 std::system_error);
    EXPECT_EQ(connection.number("PRAGMA user_version"), version);
    EXPECT_EQ(connection.number("SELECT count(*) FROM meta WHERE name = 'x'"), 0);
    EXPECT_THROW(migrate(connection, steps(kNext), path(), [](int) { throw std::system_error(Fault::NotAJournal); }),
                 std::system_error)
        << "no backup, no migration";
    EXPECT_EQ(connection.number("PRAGMA user_version"), version);
  }
  Session journal(options());
}

// ---- size ----------------------------------------------------------------------------------------------------------

TEST_F(File, AHundredThousandOpenJobsAreTakenUpQuickly) {
  constexpr int kJobs = 100'000;
  Options large = options();
  large.max_backlog = kJobs;
  {
    Session journal(large);
    for (int i = 0; i < kJobs; ++i) {
      journal->accept(make_job("job-" + std::to_string(i), R"({"prompt":"a photograph of an astronaut"})"),
                      [](std::error_code) {});
    }
    journal.drain();
  }
  auto begin = std::chrono::steady_clock::now();
  Session journal(large);
  auto open = journal->recover();
  std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(open.size(), static_cast<std::size_t>(kJobs));
  std::printf("%d open jobs taken up in %.0f ms\n", kJobs, took.count());
  RecordProperty("milliseconds", static_cast<int>(took.count()));
}

}  // namespace
}  // namespace bulkhead::journal::testing
