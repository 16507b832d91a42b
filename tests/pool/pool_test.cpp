// The pool with real children: set-up, jobs, spares, refresh, recycling, the window, the end.

#include <csignal>

#include "tests/pool/harness.hpp"

namespace bulkhead::pool {
namespace {

TEST_F(PoolTest, RunsAJob) {
  start(basics());
  const Ended& end = ends("echo hello");
  EXPECT_TRUE(end.ok);
  EXPECT_EQ(end.output, "\"hello\"");
}

TEST_F(PoolTest, RunsManyJobsOnManyChildrenEachOnce) {
  Options options = basics();
  options.workers = 4;
  start(std::move(options));
  std::vector<RunNumber> runs;
  for (int i = 0; i < 2000; ++i) runs.push_back(core_.submit("echo " + std::to_string(i)));
  until([&] { return core_.ended.size() == runs.size(); });
  for (int i = 0; i < 2000; ++i)
    EXPECT_EQ(core_.end_of(runs[static_cast<std::size_t>(i)]).output, '"' + std::to_string(i) + '"');
  for (const auto& [run, times] : core_.ended_times) EXPECT_EQ(times, 1);
}

TEST_F(PoolTest, LargeBodiesPassBothWaysUncut) {
  start(basics());
  const std::string large(10 << 20, 'a');
  EXPECT_EQ(ends("echo " + large).output.size(), large.size() + 2);
  EXPECT_EQ(ends("huge 20000000").output.size(), 20000002u);
}

TEST_F(PoolTest, NamesChildrenByPlaceAndGeneration) {
  start(basics());
  ends("echo 1");
  EXPECT_EQ(core_.rooms.begin()->second.id, "w0.1");
  ends("die 9");
  ends("echo 2");
  EXPECT_EQ(core_.rooms.begin()->second.id, "w0.2");
}

TEST_F(PoolTest, ReportsStartedProgressChunksAndFailure) {
  start(basics());
  const RunNumber run = core_.submit("chunks 200");
  until([&] { return core_.has_ended(run); });
  ASSERT_EQ(core_.chunks[run].size(), 200u);
  EXPECT_EQ(core_.chunks[run].back(), "199");
  EXPECT_TRUE(core_.entered.contains(run));
  const Ended& failed = ends("fail");
  EXPECT_FALSE(failed.ok);
  EXPECT_EQ(failed.error, "\"no\"");
  EXPECT_EQ(failed.output, "{}");
}

TEST_F(PoolTest, ThinsAFloodOfProgressButKeepsTheNewest) {
  start(basics());
  const RunNumber run = core_.submit("progress 20000");
  until([&] { return !core_.progresses[run].empty() && core_.progresses[run].back() == "20000"; });
  EXPECT_LT(core_.progresses[run].size(), 5000u);
  EXPECT_EQ(core_.progresses[run].front(), "0");
  pool_->cancel(run, StopReason::Cancel);
  until([&] { return core_.has_ended(run); });
}

TEST_F(PoolTest, CancelReachesARunningJob) {
  start(basics());
  const RunNumber run = core_.submit("sleep 60000");
  until([&] { return core_.entered.contains(run); });
  pool_->cancel(run, StopReason::Cancel);
  until([&] { return core_.has_ended(run); });
  EXPECT_EQ(core_.end_of(run).output, "\"cancelled\"");
}

TEST_F(PoolTest, AttributesWhatIsPrintedToTheJobThatPrintedIt) {
  start(basics());
  std::vector<RunNumber> runs;
  for (int i = 0; i < 50; ++i) runs.push_back(core_.submit("print number " + std::to_string(i)));
  until([&] { return core_.has_ended(runs.back()); });
  for (std::size_t i = 0; i < runs.size(); ++i) {
    EXPECT_PRED2(contains, core_.printed[runs[i]], "stdout:number " + std::to_string(i) + "\n");
    EXPECT_PRED2(contains, core_.printed[runs[i]], "stderr:error number " + std::to_string(i) + "\n");
  }
}

TEST_F(PoolTest, ALogFloodIsCutAndTheResultStillCounts) {
  start(basics());
  const RunNumber run = core_.submit("logs 200000");
  until([&] { return core_.has_ended(run); });
  EXPECT_TRUE(core_.end_of(run).ok);
  const auto lines = std::count(core_.printed[run].begin(), core_.printed[run].end(), '\n');
  EXPECT_GE(lines, LogBudget::kBurst);
  EXPECT_LT(lines, 200'000);
}

// ---- set-up --------------------------------------------------------------------------------------------------------

TEST_F(PoolTest, AFailingSetUpIsTriedAgainAndThenReported) {
  Options options = basics({"exit", "3"});
  options.backoff.patience = 4;
  start(std::move(options));
  until([&] { return !core_.trouble.empty(); });
  EXPECT_TRUE(core_.never_ready);
  EXPECT_PRED2(contains, core_.trouble[0], "exited with code 3 before it was ready");
  EXPECT_PRED2(contains, core_.trouble[0], "cannot load the model");
  EXPECT_PRED2(contains, core_.said, "set-up failed 4 times in a row");
  until([&] { return core_.said.find("6 times in a row") != std::string::npos; });  // it goes on trying
  EXPECT_EQ(core_.trouble.size(), 1u);
  EXPECT_TRUE(core_.deaths.empty()) << "the core never heard of these children";
}

TEST_F(PoolTest, ACommandThatCannotBeExecutedIsReportedAtOnce) {
  Options options = basics();
  options.command = {"/nonexistent/handler"};
  options.backoff.first = std::chrono::hours(1);
  start(std::move(options));
  ASSERT_EQ(core_.trouble.size(), 1u);
  EXPECT_PRED2(contains, core_.trouble[0], "/nonexistent/handler");
  EXPECT_TRUE(core_.never_ready);
  EXPECT_EQ(pool_->backing_off(), 1);
}

TEST_F(PoolTest, ASetUpThatTakesTooLongIsEnded) {
  Options options = basics({"mute"});
  options.setup_timeout = milliseconds(50);
  options.backoff.patience = 2;
  start(std::move(options));
  until([&] { return !core_.trouble.empty(); });
  EXPECT_PRED2(contains, core_.trouble[0], "its set-up took longer than 0.050 s");
}

TEST_F(PoolTest, AChildThatNeverSaysHelloIsEnded) {
  for (const char* kind : {"silent", "half", "stubborn"}) {
    Options options = basics({kind});
    options.setup_timeout = milliseconds(50);
    options.backoff.patience = 1;
    start(std::move(options));
    until([&] { return !core_.trouble.empty(); });
    EXPECT_PRED2(contains, core_.trouble[0], "took longer");
    core_.trouble.clear();
    stop(milliseconds(10));
  }
}

TEST_F(PoolTest, ADeathBeforeTheFirstJobIsAFailedSetUp) {
  Options options = basics();
  options.backoff.patience = 3;
  start(std::move(options));
  for (std::size_t i = 0; i < 3; ++i) {
    until([&] { return in_state(WorkerState::Ready) == 1; });
    // The one before may still be listed: what it left behind is being ended.
    for (const WorkerView& view : pool_->snapshot())
      if (view.state == WorkerState::Ready) kill(view.pid, SIGKILL);
    until([&] { return core_.deaths.size() == i + 1; });
    EXPECT_EQ(core_.trouble.size(), i / 2);
  }
  EXPECT_FALSE(core_.never_ready);
  EXPECT_PRED2(contains, core_.trouble.at(0), "was killed by SIGKILL before it had a job");
}

TEST_F(PoolTest, AChildThatIsReadyAndGoneAtOnceIsAFailedSetUp) {
  Options options = basics({"once"});
  options.backoff.patience = 3;
  start(std::move(options));
  until([&] { return !core_.trouble.empty(); });
  EXPECT_PRED2(contains, core_.trouble[0], "exited with code 3 before it ");
}

TEST_F(PoolTest, GetsHealthyAgain) {
  // Fails while a file is not there.
  const auto flag = dir_.path() / "flag";
  Options options = basics();
  options.command = {"/bin/sh", "-c", "test -e " + flag.string() + " || exit 9; exec " + raw_child() + " normal"};
  options.backoff.patience = 2;
  start(std::move(options));
  until([&] { return !core_.trouble.empty(); });
  EXPECT_EQ(core_.healthy_calls, 0);
  std::ofstream(flag) << "";
  EXPECT_TRUE(ends("echo 1").ok);
  EXPECT_EQ(core_.healthy_calls, 1);
}

// ---- spares, refresh, recycling ------------------------------------------------------------------------------------

TEST_F(PoolTest, KeepsAsManyServingAsWereAskedForAndTheRestInReserve) {
  Options options = basics();
  options.workers = 2;
  options.spares = 3;
  start(std::move(options));
  until([&] { return in_state(WorkerState::Spare) == 3; });
  EXPECT_EQ(in_state(WorkerState::Ready), 2u);
  EXPECT_EQ(core_.rooms.size(), 2u);
}

TEST_F(PoolTest, ASpareTakesThePlaceOfADeadChildWithoutASetUp) {
  Options options = basics({"slow", "0"});
  options.spares = 1;
  start(std::move(options));
  until([&] { return in_state(WorkerState::Spare) == 1; });
  WorkerNumber spare = 0;
  for (const WorkerView& view : pool_->snapshot())
    if (view.state == WorkerState::Spare) spare = view.number;
  core_.submit("die 11");
  const RunNumber next = core_.submit("pid");
  until([&] { return core_.has_ended(next); });
  EXPECT_EQ(core_.end_of(next).worker, spare);
  until([&] { return in_state(WorkerState::Spare) == 1; });  // and there is a new one
}

TEST_F(PoolTest, RefreshGivesACleanChild) {
  for (int spares : {0, 1}) {
    Options options = basics();
    options.spares = spares;
    start(std::move(options));
    std::set<std::string> pids;
    for (int i = 0; i < 20; ++i) pids.insert(ends("refresh").output);
    EXPECT_EQ(pids.size(), 20u);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(ends("scratch 1").output, "0") << "files of an earlier child";
    EXPECT_TRUE(core_.trouble.empty());
    stop();
    core_.rooms.clear();
  }
}

TEST_F(PoolTest, RefreshThatTheCoreForgetsHappensAnyway) {
  Options options = basics();
  options.stop_time = milliseconds(20);
  start(std::move(options));
  core_.refresh_when_asked = false;
  const std::string first = ends("refresh").output;
  EXPECT_NE(ends("pid").output, first);
}

TEST_F(PoolTest, TheScratchDirectoryIsKeptBetweenJobsOfOneChild) {
  start(basics());
  EXPECT_EQ(ends("scratch 0").output, "0");
  EXPECT_EQ(ends("scratch 0").output, "1");
}

TEST_F(PoolTest, AChildRetiresAfterItsJobs) {
  Options options = basics();
  options.max_jobs_per_worker = 5;
  start(std::move(options));
  std::map<std::string, int> jobs_of;
  for (int i = 0; i < 50; ++i) ++jobs_of[ends("pid").output];
  EXPECT_GE(jobs_of.size(), 10u);
  for (const auto& [pid, jobs] : jobs_of) EXPECT_LE(jobs, 5);
  EXPECT_TRUE(core_.trouble.empty());
}

TEST_F(PoolTest, ARetiringChildFinishesWhatItRuns) {
  Options options = basics({"normal", "3"});
  options.max_jobs_per_worker = 3;
  start(std::move(options));
  std::vector<RunNumber> runs;
  for (int i = 0; i < 9; ++i) runs.push_back(core_.submit("sleep 30"));
  until([&] { return core_.ended.size() == 9; });
  for (const auto& [run, end] : core_.ended) EXPECT_TRUE(end.ok);
  EXPECT_EQ(core_.bystanders, 0);
}

TEST_F(PoolTest, DevicesAreDealtOutToPlacesAndGoWithTheChild) {
  Options options = basics();
  options.command = {"/bin/sh", "-c", "echo device $CUDA_VISIBLE_DEVICES; exec " + raw_child() + " normal"};
  options.gpus = {.kind = process::Gpus::Kind::Listed, .listed = {"3", "5"}};
  options.spares = 1;
  start(std::move(options));
  until([&] { return in_state(WorkerState::Spare) == 1; });
  // A child may be ready before what it printed has been read.
  until([&] { return contains(core_.printed[0], "device 3") && contains(core_.printed[0], "device 5"); });
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(ends("refresh").ok);
}

// ---- the window ----------------------------------------------------------------------------------------------------

TEST_F(PoolTest, TheWindowOpensForTinyJobsAndClosesForASlowOne) {
  start(basics());
  until([&] { return !core_.rooms.empty(); });
  std::vector<RunNumber> behind;
  RunNumber slow = 0;
  // On a busy machine a tiny job may take long enough to close the window again just now: then once more.
  do {
    until([&] { return core_.queue.empty() && core_.rooms.begin()->second.runs.empty(); });
    for (int i = 0; i < 500; ++i) core_.submit("echo 1");
    until([&] { return core_.queue.empty() && core_.rooms.begin()->second.runs.empty(); });
    slow = core_.submit("sleep 1000");
    behind.clear();
    for (int i = 0; i < 10; ++i) behind.push_back(core_.submit("echo 2"));
  } while (!core_.queue.empty());
  EXPECT_EQ(core_.most_window, Window::kMost);
  // Tiny jobs behind a slow one are asked back.
  until([&] { return core_.rooms.begin()->second.window == 0 && core_.rooms.begin()->second.runs.size() == 1; });
  EXPECT_FALSE(core_.has_ended(slow));
  until([&] { return std::all_of(behind.begin(), behind.end(), [&](RunNumber run) { return core_.has_ended(run); }); });
  EXPECT_TRUE(core_.end_of(slow).ok);
}

TEST_F(PoolTest, OutputClosesTheWindow) {
  start(basics());
  do {
    for (int i = 0; i < 200; ++i) core_.submit("echo 1");
    until([&] { return core_.queue.empty() && core_.rooms.begin()->second.runs.empty(); });
  } while (core_.rooms.begin()->second.window == 0);
  ends("print here");
  until([&] { return core_.rooms.begin()->second.window == 0; });
}

TEST_F(PoolTest, JobsInTheWindowOfADyingChildAreBystanders) {
  Options options = basics();
  options.dispatch_window = 8;
  start(std::move(options));
  until([&] { return !core_.rooms.empty(); });
  for (int round = 0; round < 20; ++round) {
    core_.bystanders = 0;
    const RunNumber death = core_.submit("die 9");
    std::vector<RunNumber> others;
    for (int i = 0; i < 8; ++i) others.push_back(core_.submit("echo 1"));
    until([&] {
      return core_.has_ended(death) &&
             std::all_of(others.begin(), others.end(), [&](RunNumber run) { return core_.has_ended(run); });
    });
    EXPECT_TRUE(core_.end_of(death).crashed);
    EXPECT_EQ(core_.bystanders, 8);
    for (RunNumber run : others) EXPECT_TRUE(core_.end_of(run).ok);
  }
}

// ---- the end -------------------------------------------------------------------------------------------------------

TEST_F(PoolTest, StopLetsJobsFinishWithinTheGrace) {
  start(basics());
  const RunNumber run = core_.submit("sleep 100");
  until([&] { return core_.entered.contains(run); });
  stop(milliseconds(30'000));
  EXPECT_TRUE(core_.end_of(run).ok);
}

TEST_F(PoolTest, StopEndsWhatDoesNotEnd) {
  Options options = basics();
  options.workers = 2;
  options.terminate_time = milliseconds(50);
  start(std::move(options));
  const RunNumber hanging = core_.submit("hang");
  const RunNumber deaf = core_.submit("deaf");
  until([&] { return core_.entered.contains(hanging) && core_.entered.contains(deaf); });
  stop(milliseconds(10));
  EXPECT_TRUE(core_.end_of(hanging).crashed);
  EXPECT_TRUE(core_.end_of(deaf).crashed);
}

TEST_F(PoolTest, StopEndsChildrenThatAreStillBeingSetUp) {
  Options options = basics({"stubborn"});
  options.terminate_time = milliseconds(20);
  options.workers = 3;
  start(std::move(options));
  stop();
}

TEST_F(PoolTest, AChildThatIgnoresTermIsKilled) {
  start(basics());
  const RunNumber run = core_.submit("hang");
  until([&] { return core_.entered.contains(run); });
  pool_->kill(core_.where[run], "it did not stop job job-1 when asked to");
  until([&] { return core_.has_ended(run); });
  EXPECT_PRED2(contains, core_.end_of(run).error, "it did not stop job job-1 when asked to");
}

TEST_F(PoolTest, EndsWhatAnEarlierSupervisorHasLeft) {
  const Options options = basics();
  const pid_t stray = fork();
  if (stray == 0) {
    const std::string cookie = "BULKHEAD_COOKIE=" + options.cookie_prefix + "00";
    const char* environment[] = {cookie.c_str(), nullptr};
    execle("/bin/sleep", "sleep", "600", nullptr, environment);
    _exit(1);
  }
  // From here on it is no fork of the test any more, though its environment may not be there yet.
  const std::string comm = "/proc/" + std::to_string(stray) + "/comm";
  for (std::string name; name != "sleep";) std::ifstream(comm) >> name;
  start(options);
  EXPECT_PRED2(contains, core_.said, "an earlier supervisor had left");
  kill(stray, SIGKILL);
  EXPECT_EQ(waitpid(stray, nullptr, 0), stray);
}

TEST_F(PoolTest, RefusesARuntimeDirectoryOthersCanUse) {
  std::filesystem::create_directory(dir_.path() / "run");
  std::filesystem::permissions(dir_.path() / "run", std::filesystem::perms(0755));
  EXPECT_THROW(start(basics()), std::system_error);
}

TEST_F(PoolTest, SaysThatAPathIsTooLongForASocket) {
  Options options = basics();
  options.runtime_dir = dir_.path() / std::string(120, 'd');
  try {
    start(std::move(options));
    FAIL();
  } catch (const std::system_error& error) {
    EXPECT_PRED2(contains, error.what(), "at most 107 are possible");
  }
}

}  // namespace
}  // namespace bulkhead::pool
