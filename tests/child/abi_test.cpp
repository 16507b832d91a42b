// The child's library inside this process, against a supervisor that does as the test says.

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bulkhead/bulkhead.h"
#include "tests/child/fake_supervisor.hpp"

namespace bulkhead::test {
namespace {

using protocol::BlackBox;

class Abi : public testing::Test {
 protected:
  ~Abi() override {
    if (child_ != nullptr) bh_close(child_, 0);
  }

  /// Connects and is welcomed.
  bh_child* connect(const protocol::Welcome& welcome = {}, bh_options options = {}) {
    supervisor_.set_environment();
    options.size = sizeof options;
    options.keep_signals = 1;
    auto connecting = std::async(std::launch::async, [&] { return bh_connect(&options, error_, sizeof error_); });
    hello_ = supervisor_.welcome(welcome);
    child_ = connecting.get();
    EXPECT_NE(child_, nullptr) << error_;
    return child_;
  }
  bh_child* connect_ready(int concurrency = 1, const protocol::Welcome& welcome = {}, bh_options options = {}) {
    connect(welcome, options);
    EXPECT_EQ(bh_ready(child_, concurrency), BH_OK);
    EXPECT_EQ(supervisor_.expect<protocol::Ready>().concurrency, static_cast<std::uint32_t>(concurrency));
    return child_;
  }
  bh_event next(int timeout_ms = static_cast<int>(kPatience.count())) {
    bh_event event{};
    EXPECT_EQ(bh_next(child_, timeout_ms, &event), BH_OK);
    return event;
  }
  bh_job* next_job() {
    const bh_event event = next();
    EXPECT_EQ(event.kind, BH_EVENT_JOB);
    return event.job;
  }
  static std::string input_of(const bh_job* job) {
    std::size_t size = 0;
    const char* input = bh_job_input(job, &size);
    return {input, size};
  }

  explicit Abi(int most_unread = 0) : supervisor_(most_unread) {}

  FakeSupervisor supervisor_;
  bh_child* child_ = nullptr;
  protocol::Hello hello_;
  char error_[256] = "";
};

TEST_F(Abi, SaysHelloAndRunsAJob) {
  connect_ready();
  EXPECT_EQ(hello_.pid, static_cast<std::uint64_t>(getpid()));
  EXPECT_EQ(hello_.sdk, std::string("bulkhead-c/") + bh_version());
  supervisor_.run(7, "{\"a\":1}");
  bh_job* job = next_job();
  EXPECT_STREQ(bh_job_id(job), "job-7");
  EXPECT_EQ(input_of(job), "{\"a\":1}");
  EXPECT_EQ(bh_job_attempt(job), 1);
  EXPECT_EQ(bh_job_checkpoint(job, nullptr), nullptr);
  EXPECT_EQ(supervisor_.entry_of(7), BlackBox::State::Entered);
  EXPECT_EQ(bh_job_done(job, "42", 2, BH_REFRESH_WORKER), BH_OK);
  EXPECT_EQ(supervisor_.entry_of(7), BlackBox::State::Left);
  const auto done = supervisor_.expect<protocol::Done>();
  EXPECT_EQ(done.run, 7u);
  EXPECT_EQ(done.seq, 1u);
  EXPECT_EQ(done.output, "42");
  EXPECT_TRUE(done.refresh_worker);
}

TEST_F(Abi, SaysWhyItIsNotSupervised) {
  unsetenv("BULKHEAD_SOCKET");
  unsetenv("BULKHEAD_TOKEN");
  EXPECT_EQ(bh_connect(nullptr, error_, sizeof error_), nullptr);
  EXPECT_NE(std::string(error_).find("BULKHEAD_SOCKET"), std::string::npos) << error_;
}

TEST_F(Abi, HidesItsCredentialsOnceConnected) {
  connect();
  EXPECT_EQ(getenv("BULKHEAD_SOCKET"), nullptr);
  EXPECT_EQ(getenv("BULKHEAD_TOKEN"), nullptr);
  EXPECT_NE(bh_supervised(), 0);
  EXPECT_EQ(bh_connect(nullptr, error_, sizeof error_), nullptr);
  EXPECT_STREQ(error_, "this process is connected already");
}

TEST_F(Abi, TellsWhyItWasRefused) {
  supervisor_.set_environment();
  auto connecting = std::async(std::launch::async, [&] {
    bh_options options{};
    options.size = sizeof options;
    options.keep_signals = 1;
    return bh_connect(&options, error_, sizeof error_);
  });
  supervisor_.expect<protocol::Hello>();
  supervisor_.send(protocol::Refuse{protocol::RefuseReason::Version, "too old"});
  EXPECT_EQ(connecting.get(), nullptr);
  EXPECT_NE(std::string(error_).find("too old"), std::string::npos) << error_;
}

TEST_F(Abi, ConnectsOnceTheSupervisorIsThere) {
  supervisor_.vanish();
  supervisor_.set_environment();
  auto connecting = std::async(std::launch::async, [&] {
    bh_options options{};
    options.size = sizeof options;
    options.keep_signals = 1;
    return bh_connect(&options, error_, sizeof error_);
  });
  supervisor_.return_anew();
  supervisor_.welcome();
  child_ = connecting.get();
  EXPECT_NE(child_, nullptr) << error_;
}

TEST_F(Abi, EntersNoMoreJobsThanItIsReadyFor) {
  connect_ready(2);
  for (protocol::Run run = 1; run <= 3; ++run) supervisor_.run(run, std::to_string(run));
  bh_job* first = next_job();
  bh_job* second = next_job();
  EXPECT_EQ(input_of(first), "1");
  EXPECT_EQ(input_of(second), "2");
  bh_event event{};
  EXPECT_EQ(bh_next(child_, 0, &event), BH_AGAIN);
  EXPECT_EQ(supervisor_.entry_of(3), BlackBox::State::Free);
  EXPECT_EQ(bh_job_done(first, nullptr, 0, 0), BH_OK);
  bh_job* third = next_job();
  EXPECT_EQ(input_of(third), "3");
  EXPECT_EQ(bh_job_done(third, "", 0, 0), BH_OK);
  EXPECT_EQ(bh_job_failed(second, "\"no\"", 4, "{}", 2, 0), BH_OK);
  EXPECT_EQ(supervisor_.expect<protocol::Done>().run, 1u);
  EXPECT_EQ(supervisor_.expect<protocol::Done>().run, 3u);
  const auto failed = supervisor_.expect<protocol::Failed>();
  EXPECT_EQ(failed.error, "\"no\"");
  EXPECT_EQ(failed.output, "{}");
}

TEST_F(Abi, GivesBackWhatIsRecalledOrCancelledBeforeItsEntry) {
  connect_ready();
  for (protocol::Run run = 1; run <= 4; ++run) supervisor_.run(run, "0");
  bh_job* running = next_job();
  supervisor_.send(protocol::Recall{1});  // too late
  supervisor_.send(protocol::Recall{3});
  supervisor_.send(protocol::Cancel{2, protocol::CancelReason::Requested});
  // The only thread is busy with its job: the watcher sees to it.
  EXPECT_EQ(supervisor_.expect<protocol::HandBack>().run, 3u);
  const auto second = supervisor_.expect<protocol::HandBack>();
  EXPECT_EQ(second.run, 2u);
  EXPECT_EQ(second.seq, 1u);
  EXPECT_EQ(bh_job_stopping(running), BH_RUNNING);
  bh_job_done(running, nullptr, 0, 0);
  supervisor_.expect<protocol::Done>();
  EXPECT_STREQ(bh_job_id(next_job()), "job-4");
}

TEST_F(Abi, KeepsAnEntryUntilTheResultIsAcknowledged) {
  connect_ready();
  supervisor_.run(1, "0");
  bh_job_done(next_job(), nullptr, 0, 0);
  supervisor_.expect<protocol::Done>();
  EXPECT_EQ(supervisor_.entry_of(1), BlackBox::State::Left);
  protocol::RunJob job;
  job.run = 2;
  job.job_id = "second";
  job.input = "0";
  job.acks = {{1, 1}};
  supervisor_.send(job);
  next_job();
  EXPECT_EQ(supervisor_.entry_of(1), BlackBox::State::Free);
  EXPECT_EQ(supervisor_.entry_of(2), BlackBox::State::Entered);
}

TEST_F(Abi, PassesOnEverythingThatComesWithAJob) {
  connect_ready();
  protocol::RunJob job;
  job.run = 9;
  job.job_id = "x";
  job.attempt = 3;
  job.extra = "{\"policy\":{\"ttl\":1}}";
  job.input = "[]";
  job.has_checkpoint = true;
  job.checkpoint = std::string_view("a\0b", 3);
  supervisor_.send(job);
  bh_job* taken = next_job();
  std::size_t size = 0;
  EXPECT_STREQ(bh_job_id(taken), "x");
  EXPECT_EQ(bh_job_attempt(taken), 3);
  const char* extra = bh_job_extra(taken, &size);
  EXPECT_EQ(std::string(extra, size), job.extra);
  const void* checkpoint = bh_job_checkpoint(taken, &size);
  EXPECT_EQ(std::string(static_cast<const char*>(checkpoint), size), std::string("a\0b", 3));
  EXPECT_EQ(bh_job_user(taken), nullptr);
  bh_job_set_user(taken, &size);
  EXPECT_EQ(bh_job_user(taken), &size);
}

TEST_F(Abi, CancelReachesARunningJob) {
  connect_ready(2);
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  EXPECT_EQ(bh_job_progress(job, "1", 1), BH_OK);
  supervisor_.expect<protocol::Progress>();
  supervisor_.send(protocol::Cancel{1, protocol::CancelReason::Timeout});
  const bh_event event = next();
  EXPECT_EQ(event.kind, BH_EVENT_CANCEL);
  EXPECT_EQ(event.job, job);
  EXPECT_EQ(bh_job_stopping(job), BH_STOP_TIMEOUT);
  EXPECT_EQ(bh_job_progress(job, "2", 1), BH_CANCELLED);
  EXPECT_EQ(bh_job_chunk(job, "2", 1, -1), BH_CANCELLED);
  EXPECT_EQ(bh_job_save_checkpoint(job, "2", 1, -1), BH_CANCELLED);
  EXPECT_EQ(bh_job_log(job, BH_INFO, "ending", 6), BH_OK);
  EXPECT_EQ(bh_job_done(job, nullptr, 0, 0), BH_OK);
  EXPECT_EQ(supervisor_.expect<protocol::Log>().text, "ending");
  supervisor_.expect<protocol::Done>();
}

TEST_F(Abi, ADrainedJobMayStillSaveWhatItHas) {
  connect_ready();
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  supervisor_.send(protocol::Cancel{1, protocol::CancelReason::Drain});
  EXPECT_EQ(next().kind, BH_EVENT_CANCEL);
  EXPECT_EQ(bh_job_stopping(job), BH_STOP_DRAIN);
  auto saving = std::async(std::launch::async, [&] { return bh_job_save_checkpoint(job, "half", 4, -1); });
  const auto checkpoint = supervisor_.expect<protocol::Checkpoint>();
  EXPECT_EQ(checkpoint.body, "half");
  supervisor_.send(protocol::Ack{1, checkpoint.seq});
  EXPECT_EQ(saving.get(), BH_OK);
}

struct StopCalls {
  std::promise<std::pair<bh_job*, bh_stop_reason>> first;
  std::promise<void> go_on;
  std::atomic<int> count{0};
  static void on_stop(bh_job* job, bh_stop_reason reason, void* self) {
    auto& calls = *static_cast<StopCalls*>(self);
    bh_job_log(job, BH_INFO, "stopping", 8);  // any call on the job is allowed
    if (calls.count++ == 0) calls.first.set_value({job, reason});
    calls.go_on.get_future().wait();
  }
};

TEST_F(Abi, CallsOnStopWhileTheHandlerKeepsItsThread) {
  StopCalls calls;
  bh_options options{};
  options.on_stop = &StopCalls::on_stop;
  options.on_stop_user = &calls;
  connect_ready(1, {}, options);
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  supervisor_.send(protocol::Cancel{1, protocol::CancelReason::Requested});
  EXPECT_EQ(calls.first.get_future().get(), std::make_pair(job, BH_STOP_CANCEL));
  EXPECT_EQ(bh_job_stopping(job), BH_STOP_CANCEL);
  auto finishing = std::async(std::launch::async, [&] { return bh_job_done(job, nullptr, 0, 0); });
  EXPECT_EQ(supervisor_.expect<protocol::Log>().text, "stopping");
  calls.go_on.set_value();  // the result waits for the call to return
  EXPECT_EQ(finishing.get(), BH_OK);
  supervisor_.expect<protocol::Done>();
  EXPECT_EQ(calls.count, 1);
  bh_event event{};
  EXPECT_EQ(bh_next(child_, 0, &event), BH_AGAIN);  // no event beside the call
}

/// Returns when the thread waits for something.
void await_sleep(const std::atomic<pid_t>& thread) {
  char state = 'R';
  while (state != 'S') {
    std::this_thread::yield();
    if (thread == 0) continue;
    std::ifstream stat("/proc/self/task/" + std::to_string(thread) + "/stat");
    std::string text;
    std::getline(stat, text);
    const std::size_t name_end = text.rfind(')');
    if (name_end != std::string::npos && name_end + 2 < text.size()) state = text[name_end + 2];
  }
}

std::atomic<int> cancel_signals{0};

TEST_F(Abi, CancelSignalsTheThreadOfTheJob) {
  cancel_signals = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { ++cancel_signals; };
  sigaction(SIGUSR2, &action, nullptr);
  bh_options options{};
  options.cancel_signal = SIGUSR2;
  connect_ready(1, {}, options);
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  supervisor_.send(protocol::Cancel{1, protocol::CancelReason::Requested});
  pollfd nothing{-1, 0, 0};
  while (cancel_signals == 0) poll(&nothing, 1, 100);  // ends with EINTR
  EXPECT_EQ(bh_job_stopping(job), BH_STOP_CANCEL);
}

TEST_F(Abi, ReturnsFromWaitingOnASignalIfAsked) {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  sigaction(SIGUSR1, &action, nullptr);
  bh_options options{};
  options.return_on_signal = 1;
  connect_ready(1, {}, options);
  const pthread_t waiting = pthread_self();
  std::atomic<bool> returned{false};
  std::thread interrupter([&] {
    while (!returned) {  // the signal may come before the wait has begun
      pthread_kill(waiting, SIGUSR1);
      std::this_thread::yield();
    }
  });
  bh_event event{};
  EXPECT_EQ(bh_next(child_, -1, &event), BH_AGAIN);
  returned = true;
  interrupter.join();
}

protocol::Welcome window(std::uint32_t chunks, std::uint64_t bytes) {
  protocol::Welcome welcome;
  welcome.chunk_window = chunks;
  welcome.chunk_window_bytes = bytes;
  return welcome;
}

TEST_F(Abi, ChunksFlowUnderCredit) {
  connect_ready(1, window(2, 1 << 20));
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  EXPECT_EQ(bh_job_chunk(job, "1", 1, 0), BH_OK);
  EXPECT_EQ(bh_job_chunk(job, "2", 1, 0), BH_OK);
  EXPECT_EQ(bh_job_chunk(job, "3", 1, 0), BH_AGAIN);
  EXPECT_EQ(supervisor_.expect<protocol::Chunk>().seq, 1u);
  EXPECT_EQ(supervisor_.expect<protocol::Chunk>().seq, 2u);
  supervisor_.send(protocol::Ack{1, 1});
  const bh_event event = next();
  EXPECT_EQ(event.kind, BH_EVENT_CREDIT);
  EXPECT_EQ(event.job, job);
  EXPECT_EQ(bh_job_chunk(job, "3", 1, 0), BH_OK);
  const auto third = supervisor_.expect<protocol::Chunk>();
  EXPECT_EQ(third.seq, 3u);
  EXPECT_EQ(third.body, "3");
}

TEST_F(Abi, AChunkWaitsForCredit) {
  connect_ready(1, window(64, 100));
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  const std::string large(1000, '1');  // one is always allowed
  EXPECT_EQ(bh_job_chunk(job, large.data(), large.size(), -1), BH_OK);
  EXPECT_EQ(bh_job_chunk(job, "2", 1, 1), BH_AGAIN);
  auto waiting = std::async(std::launch::async, [&] { return bh_job_chunk(job, "2", 1, -1); });
  EXPECT_EQ(supervisor_.expect<protocol::Chunk>().body, large);
  supervisor_.send(protocol::Ack{1, 1});
  EXPECT_EQ(waiting.get(), BH_OK);
  EXPECT_EQ(supervisor_.expect<protocol::Chunk>().body, "2");
}

TEST_F(Abi, ACancelEndsTheWaitForCredit) {
  connect_ready(1, window(1, 100));
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  EXPECT_EQ(bh_job_chunk(job, "1", 1, 0), BH_OK);
  auto waiting = std::async(std::launch::async, [&] { return bh_job_chunk(job, "2", 1, -1); });
  supervisor_.send(protocol::Cancel{1, protocol::CancelReason::Requested});
  EXPECT_EQ(waiting.get(), BH_CANCELLED);
}

TEST_F(Abi, WhatIsTooLargeDoesNotEndTheRun) {
  protocol::Welcome welcome;
  welcome.max_body = 100;
  welcome.max_chunk = 10;
  connect_ready(1, welcome);
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  const std::string large(101, '1');
  EXPECT_EQ(bh_job_chunk(job, large.data(), 11, 0), BH_TOO_LARGE);
  EXPECT_NE(std::string(bh_strerror(BH_TOO_LARGE)).find("10 bytes"), std::string::npos);
  EXPECT_EQ(bh_job_progress(job, large.data(), large.size()), BH_TOO_LARGE);
  EXPECT_EQ(bh_job_save_checkpoint(job, large.data(), large.size(), 0), BH_TOO_LARGE);
  EXPECT_EQ(bh_job_failed(job, large.data(), large.size(), nullptr, 0, 0), BH_TOO_LARGE);
  EXPECT_EQ(bh_job_done(job, large.data(), large.size(), 0), BH_TOO_LARGE);
  EXPECT_NE(std::string(bh_strerror(BH_TOO_LARGE)).find("100 bytes"), std::string::npos);
  EXPECT_EQ(supervisor_.entry_of(1), BlackBox::State::Entered);
  EXPECT_EQ(bh_job_done(job, large.data(), 100, 0), BH_OK);
  EXPECT_EQ(supervisor_.expect<protocol::Done>().output.size(), 100u);
}

TEST_F(Abi, LargeBodiesArriveWhole) {
  connect_ready();
  const std::string large(20 << 20, 'x');
  supervisor_.run(1, large);
  bh_job* job = next_job();
  EXPECT_TRUE(input_of(job) == large);
  EXPECT_EQ(bh_job_done(job, large.data(), large.size(), 0), BH_OK);
  EXPECT_TRUE(supervisor_.expect<protocol::Done>().output == large);
}

TEST_F(Abi, ACheckpointIsSavedWhenItIsAcknowledged) {
  connect_ready();
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  EXPECT_EQ(bh_job_save_checkpoint(job, "1", 1, 1), BH_AGAIN);
  EXPECT_EQ(bh_job_save_checkpoint(job, "2", 1, 0), BH_AGAIN);  // the first is still on its way
  EXPECT_EQ(supervisor_.expect<protocol::Checkpoint>().body, "1");
  auto saving = std::async(std::launch::async, [&] { return bh_job_save_checkpoint(job, "3", 1, -1); });
  supervisor_.send(protocol::Ack{1, 1});
  const auto checkpoint = supervisor_.expect<protocol::Checkpoint>();
  EXPECT_EQ(checkpoint.body, "3");
  supervisor_.send(protocol::Ack{1, checkpoint.seq});
  EXPECT_EQ(saving.get(), BH_OK);
}

TEST_F(Abi, TellsOfLongRunsAndBeats) {
  protocol::Welcome welcome;
  welcome.heartbeat_ms = 5;
  connect_ready(1, welcome);
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  // Nobody is in bh_next: this is the watcher's doing.
  const auto started = supervisor_.receive();
  ASSERT_TRUE(started && std::holds_alternative<protocol::Started>(*started));
  EXPECT_EQ(std::get<protocol::Started>(*started).run, 1u);
  const auto beat = supervisor_.receive();
  ASSERT_TRUE(beat && std::holds_alternative<protocol::Heartbeat>(*beat));
  const auto sign = supervisor_.black_box().last_sign_ns.load();
  const auto next_beat = supervisor_.receive();
  ASSERT_TRUE(next_beat && std::holds_alternative<protocol::Heartbeat>(*next_beat));
  EXPECT_GT(supervisor_.black_box().last_sign_ns.load(), sign);
  EXPECT_GE(std::get<protocol::Heartbeat>(*next_beat).cpu_time_us, std::get<protocol::Heartbeat>(*beat).cpu_time_us);
  bh_job_done(job, nullptr, 0, 0);
}

TEST_F(Abi, LogsLineByLine) {
  connect_ready();
  const std::string long_line = std::string(protocol::kMaxLogLine - 1, 'a') + "\u00e9\u00e9";
  const std::string text = "one\r\ntwo \xff\n\n" + long_line + "\n";
  EXPECT_EQ(bh_log(child_, BH_WARN, text.data(), text.size()), BH_OK);
  const auto one = supervisor_.expect<protocol::Log>();
  EXPECT_EQ(one.run, 0u);
  EXPECT_EQ(one.level, protocol::Level::Warn);
  EXPECT_EQ(one.text, "one");
  EXPECT_EQ(supervisor_.expect<protocol::Log>().text, "two \xef\xbf\xbd");
  EXPECT_EQ(supervisor_.expect<protocol::Log>().text, "");
  const auto cut = supervisor_.expect<protocol::Log>();
  EXPECT_LE(cut.text.size(), protocol::kMaxLogLine);
  EXPECT_TRUE(cut.text.ends_with("aa [cut]"));
  EXPECT_EQ(bh_log(child_, BH_INFO, nullptr, 0), BH_OK);
  EXPECT_EQ(supervisor_.expect<protocol::Log>().text, "");
}

TEST_F(Abi, StopGivesBackWhatWaitsAndReachesEveryThread) {
  connect_ready(3);
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  std::vector<std::future<bh_event_kind>> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(std::async(std::launch::async, [&] { return next().kind; }));
  EXPECT_EQ(bh_ready(child_, 1), BH_OK);
  EXPECT_EQ(supervisor_.expect<protocol::Ready>().concurrency, 1u);
  supervisor_.run(2, "0");
  supervisor_.send(protocol::Stop{});
  for (auto& thread : waiting) EXPECT_EQ(thread.get(), BH_EVENT_STOP);
  EXPECT_EQ(supervisor_.expect<protocol::HandBack>().run, 2u);
  EXPECT_EQ(next().kind, BH_EVENT_STOP);
  EXPECT_EQ(supervisor_.black_box().phase.load(), BlackBox::Phase::Stopping);
  EXPECT_EQ(bh_job_stopping(job), BH_RUNNING);
  supervisor_.run(3, "0");  // crossed the stop on its way
  EXPECT_EQ(supervisor_.expect<protocol::HandBack>().run, 3u);
  bh_job_done(job, nullptr, 0, 0);
  supervisor_.expect<protocol::Done>();
}

TEST_F(Abi, AnUnreadableJobFailsAlone) {
  connect_ready();
  protocol::RunJob broken;
  broken.run = 1;
  broken.job_id = "x";
  broken.input = "0";
  std::string envelope;
  protocol::encode(protocol::ToChild(broken), envelope);
  supervisor_.send_frames({envelope});  // its input is missing
  const auto failed = supervisor_.expect<protocol::Failed>();
  EXPECT_EQ(failed.run, 1u);
  EXPECT_NE(failed.error.find("could not be read"), std::string_view::npos) << failed.error;
  supervisor_.send_frames({"nonsense", "a", "b", "c", "d"});
  EXPECT_EQ(supervisor_.expect<protocol::Log>().level, protocol::Level::Warn);
  supervisor_.send(protocol::Ack{1, 1});
  supervisor_.run(2, "0");
  EXPECT_EQ(bh_job_done(next_job(), nullptr, 0, 0), BH_OK);
  EXPECT_EQ(supervisor_.expect<protocol::Done>().run, 2u);
}

TEST_F(Abi, ADescriptorTellsOfEverything) {
  connect();
  const int fd = bh_fd(child_);
  ASSERT_GE(fd, 0);
  const auto readable = [&](int timeout_ms) {
    pollfd ready{fd, POLLIN, 0};
    return poll(&ready, 1, timeout_ms) == 1;
  };
  const int patience = static_cast<int>(kPatience.count());
  bh_event event{};
  // An event loop: waits for the descriptor, then takes events until there are none.
  const auto await_event = [&] {
    for (;;) {
      const int status = bh_next(child_, 0, &event);
      if (status != BH_AGAIN) return status;
      if (!readable(patience)) return status;
    }
  };
  EXPECT_EQ(bh_ready(child_, 1), BH_OK);
  supervisor_.expect<protocol::Ready>();
  supervisor_.run(1, "0");
  supervisor_.run(2, "0");
  EXPECT_EQ(await_event(), BH_OK);
  bh_job* job = event.job;
  EXPECT_EQ(bh_next(child_, 0, &event), BH_AGAIN);
  EXPECT_FALSE(readable(0));
  // The loop is busy in a handler: a cancel gets through nevertheless, and the descriptor tells.
  supervisor_.send(protocol::Cancel{1, protocol::CancelReason::Requested});
  EXPECT_TRUE(readable(patience));
  EXPECT_EQ(await_event(), BH_OK);
  EXPECT_EQ(event.kind, BH_EVENT_CANCEL);
  EXPECT_EQ(bh_next(child_, 0, &event), BH_AGAIN);
  EXPECT_FALSE(readable(0));
  // Room for the next one is an event, too.
  EXPECT_EQ(bh_job_done(job, nullptr, 0, 0), BH_OK);
  EXPECT_TRUE(readable(0));
  EXPECT_EQ(await_event(), BH_OK);
  EXPECT_EQ(event.kind, BH_EVENT_JOB);
  bh_job_done(event.job, nullptr, 0, 0);
  supervisor_.send(protocol::Stop{});
  EXPECT_EQ(await_event(), BH_OK);
  EXPECT_EQ(event.kind, BH_EVENT_STOP);
  // It is given again, but is no reason to wake up again.
  EXPECT_EQ(bh_next(child_, 0, &event), BH_OK);
  EXPECT_EQ(event.kind, BH_EVENT_STOP);
  EXPECT_FALSE(readable(0));
  supervisor_.vanish();
  int status = BH_OK;
  while (status == BH_OK && readable(patience)) status = bh_next(child_, 0, &event);
  EXPECT_EQ(status, BH_LOST);
}

TEST_F(Abi, ABusyEventLoopIsStillCancelled) {
  connect();
  ASSERT_GE(bh_fd(child_), 0);
  EXPECT_EQ(bh_ready(child_, 1), BH_OK);
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  supervisor_.send(protocol::Cancel{1, protocol::CancelReason::Requested});
  while (bh_job_stopping(job) == BH_RUNNING) std::this_thread::yield();
  EXPECT_EQ(bh_job_stopping(job), BH_STOP_CANCEL);
}

TEST_F(Abi, ALostSupervisorStopsEverything) {
  connect_ready(2);
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  auto waiting = std::async(std::launch::async, [&] {
    bh_event event{};
    return bh_next(child_, -1, &event);
  });
  auto saving = std::async(std::launch::async, [&] { return bh_job_save_checkpoint(job, "1", 1, -1); });
  supervisor_.expect<protocol::Checkpoint>();
  supervisor_.vanish();
  EXPECT_EQ(waiting.get(), BH_LOST);
  EXPECT_EQ(saving.get(), BH_LOST);
  EXPECT_EQ(bh_job_stopping(job), BH_STOP_DRAIN);
  EXPECT_EQ(bh_job_progress(job, "1", 1), BH_LOST);
  EXPECT_EQ(bh_job_done(job, nullptr, 0, 0), BH_LOST);
  EXPECT_EQ(supervisor_.entry_of(1), BlackBox::State::Entered);  // its result never left
  EXPECT_EQ(bh_close(std::exchange(child_, nullptr), -1), BH_LOST);
}

TEST_F(Abi, ClosingEndsAllWaiting) {
  connect_ready(2);
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  supervisor_.run(2, "0");
  supervisor_.run(3, "0");
  next_job();
  std::atomic<pid_t> waiter{0};
  auto waiting = std::async(std::launch::async, [&waiter, child = child_] {
    waiter = gettid();
    bh_event event{};
    return bh_next(child, -1, &event);
  });
  auto saving = std::async(std::launch::async, [&] { return bh_job_save_checkpoint(job, "1", 1, -1); });
  supervisor_.expect<protocol::Checkpoint>();
  await_sleep(waiter);
  EXPECT_EQ(bh_close(std::exchange(child_, nullptr), static_cast<int>(kPatience.count())), BH_OK);
  EXPECT_EQ(waiting.get(), BH_LOST);
  EXPECT_EQ(saving.get(), BH_LOST);
  EXPECT_EQ(supervisor_.expect<protocol::HandBack>().run, 3u);
}

protocol::Welcome tolerant() {
  protocol::Welcome welcome;
  welcome.orphan_timeout_ms = static_cast<std::uint64_t>(kPatience.count());
  return welcome;
}

TEST_F(Abi, SendsAgainWhatANewSupervisorHasNotSeen) {
  connect_ready(3, tolerant());
  for (protocol::Run run = 1; run <= 3; ++run) supervisor_.run(run, "0");
  bh_job* first = next_job();
  bh_job* second = next_job();
  bh_job* third = next_job();
  EXPECT_EQ(bh_job_chunk(first, "1", 1, 0), BH_OK);
  EXPECT_EQ(bh_job_chunk(first, "2", 1, 0), BH_OK);
  EXPECT_EQ(bh_job_done(second, "\"seen\"", 6, 0), BH_OK);
  for (int i = 0; i < 2; ++i) supervisor_.expect<protocol::Chunk>();
  supervisor_.expect<protocol::Done>();
  supervisor_.run(4, "0");  // one that waits
  supervisor_.vanish();

  supervisor_.return_anew();
  const auto hello = supervisor_.expect<protocol::Hello>();
  // Nobody listens yet; what is said meanwhile is kept.
  EXPECT_EQ(bh_job_chunk(first, "3", 1, 0), BH_OK);
  EXPECT_EQ(bh_job_done(third, "\"late\"", 6, 0), BH_OK);
  EXPECT_EQ(supervisor_.entry_of(3), BlackBox::State::Entered);
  bh_event event{};
  EXPECT_EQ(bh_next(child_, 0, &event), BH_AGAIN);  // no new job without a supervisor
  ASSERT_GE(hello.held.size(), 3u);
  for (const auto& held : hello.held) {
    EXPECT_EQ(held.job_id, "job-" + std::to_string(held.run));
    EXPECT_EQ(held.entered, held.run != 4);
    EXPECT_EQ(held.first_kept, 1u);
    EXPECT_EQ(held.next_seq, held.run == 1 ? 3u : held.run == 2 ? 2u : 1u);
  }
  protocol::Welcome again = tolerant();
  again.seen = {{1, 1}, {2, 1}, {3, 0}, {4, 0}};
  supervisor_.send(again);
  EXPECT_EQ(supervisor_.expect<protocol::Chunk>().seq, 2u);
  EXPECT_EQ(supervisor_.expect<protocol::Chunk>().seq, 3u);
  EXPECT_EQ(supervisor_.expect<protocol::Done>().run, 3u);
  EXPECT_EQ(supervisor_.expect<protocol::Ready>().concurrency, 3u);
  EXPECT_EQ(supervisor_.entry_of(2), BlackBox::State::Free);
  EXPECT_EQ(supervisor_.entry_of(3), BlackBox::State::Left);
  EXPECT_EQ(bh_job_stopping(first), BH_RUNNING);
  EXPECT_EQ(bh_job_done(first, nullptr, 0, 0), BH_OK);
  EXPECT_EQ(supervisor_.expect<protocol::Done>().seq, 4u);
  // The run that waited may or may not have been received before the end; the hello said which.
  if (hello.held.size() == 4) {
    EXPECT_STREQ(bh_job_id(next_job()), "job-4");
  }
}

TEST_F(Abi, DropsRunsANewSupervisorDoesNotWant) {
  connect_ready(2, tolerant());
  for (protocol::Run run = 1; run <= 3; ++run) supervisor_.run(run, "0");
  bh_job* running = next_job();
  bh_job* finished = next_job();
  EXPECT_EQ(bh_job_chunk(running, "1", 1, 0), BH_OK);
  EXPECT_EQ(bh_job_done(finished, nullptr, 0, 0), BH_OK);
  supervisor_.vanish();
  for (int round = 0; round < 2; ++round) {  // a second restart finds nothing held any more
    supervisor_.return_anew();
    const auto hello = supervisor_.welcome(tolerant());
    EXPECT_EQ(hello.held.empty(), round == 1);
    EXPECT_EQ(supervisor_.expect<protocol::Ready>().concurrency, 2u);
    if (round == 0) supervisor_.vanish();
  }
  EXPECT_EQ(next().kind, BH_EVENT_CANCEL);
  EXPECT_EQ(bh_job_stopping(running), BH_STOP_CANCEL);
  EXPECT_EQ(bh_job_chunk(running, "2", 1, 0), BH_CANCELLED);
  EXPECT_EQ(supervisor_.entry_of(2), BlackBox::State::Free);
  EXPECT_EQ(bh_job_done(running, nullptr, 0, 0), BH_OK);
  EXPECT_EQ(supervisor_.entry_of(1), BlackBox::State::Free);
  supervisor_.run(4, "0");
  EXPECT_STREQ(bh_job_id(next_job()), "job-4");
}

TEST_F(Abi, WhatIsSaidWithoutASupervisorIsSaidLater) {
  connect_ready(1, tolerant());
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  supervisor_.vanish();
  supervisor_.return_anew();
  supervisor_.expect<protocol::Hello>();
  EXPECT_EQ(bh_job_progress(job, "1", 1), BH_OK);
  EXPECT_EQ(bh_job_progress(job, "2", 1), BH_OK);
  EXPECT_EQ(bh_job_log(job, BH_INFO, "a\nb", 3), BH_OK);
  protocol::Welcome again = tolerant();
  again.seen = {{1, 0}};
  supervisor_.send(again);
  supervisor_.expect<protocol::Ready>();
  EXPECT_EQ(supervisor_.expect<protocol::Progress>().body, "2");
  EXPECT_TRUE(supervisor_.expect<protocol::Log>().text.starts_with("2 log lines were dropped"));
}

TEST_F(Abi, AnEventLoopGoesOnWithANewSupervisor) {
  connect(tolerant());
  const int fd = bh_fd(child_);
  EXPECT_EQ(bh_ready(child_, 1), BH_OK);
  supervisor_.expect<protocol::Ready>();
  supervisor_.vanish();
  supervisor_.return_anew();
  supervisor_.welcome(tolerant());
  supervisor_.expect<protocol::Ready>();
  supervisor_.run(1, "0");
  bh_event event{};
  int status = BH_AGAIN;
  pollfd ready{fd, POLLIN, 0};
  while (status == BH_AGAIN && poll(&ready, 1, static_cast<int>(kPatience.count())) == 1) {
    status = bh_next(child_, 0, &event);
  }
  EXPECT_EQ(status, BH_OK);
  EXPECT_EQ(event.kind, BH_EVENT_JOB);
}

TEST_F(Abi, AnOrphanIsLostWhenNobodyComesBack) {
  protocol::Welcome welcome;
  welcome.orphan_timeout_ms = 10;
  connect_ready(1, welcome);
  supervisor_.vanish();
  bh_event event{};
  EXPECT_EQ(bh_next(child_, -1, &event), BH_LOST);
}

TEST_F(Abi, ClosingWaitsForASupervisorThatComesBack) {
  connect_ready(1, tolerant());
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  supervisor_.vanish();
  supervisor_.return_anew();
  const auto hello = supervisor_.expect<protocol::Hello>();
  EXPECT_EQ(bh_job_done(job, "1", 1, 0), BH_OK);
  auto closing = std::async(std::launch::async, [this] {
    return bh_close(std::exchange(child_, nullptr), static_cast<int>(kPatience.count()));
  });
  protocol::Welcome again = tolerant();
  again.seen = {{1, 0}};
  supervisor_.send(again);
  EXPECT_EQ(supervisor_.expect<protocol::Done>().output, "1");
  EXPECT_EQ(closing.get(), BH_OK);
}

TEST_F(Abi, ManyThreadsShareTheConnection) {
  constexpr int kThreads = 6;
  constexpr protocol::Run kRuns = 300;
  connect_ready(kThreads, window(3, 1 << 20));
  std::vector<std::thread> threads;
  std::atomic<int> done{0};
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      bh_event event{};
      while (bh_next(child_, -1, &event) == BH_OK && event.kind != BH_EVENT_STOP) {
        if (event.kind != BH_EVENT_JOB) continue;
        bh_job_progress(event.job, "0", 1);
        for (int chunk = 0; chunk < 5; ++chunk) bh_job_chunk(event.job, "1", 1, -1);
        bh_job_log(event.job, BH_INFO, "text", 4);
        bh_job_done(event.job, "2", 1, 0);
        ++done;
      }
    });
  }
  protocol::Run sent = 0;
  int results = 0;
  int chunks = 0;
  while (results < static_cast<int>(kRuns)) {
    while (sent < kRuns && sent < static_cast<protocol::Run>(results) + kThreads + 3) supervisor_.run(++sent, "0");
    const auto said = supervisor_.receive();
    ASSERT_TRUE(said);
    if (const auto* chunk = std::get_if<protocol::Chunk>(&*said)) {
      ++chunks;
      supervisor_.send(protocol::Ack{chunk->run, chunk->seq});
    } else if (const auto* result = std::get_if<protocol::Done>(&*said)) {
      ++results;
      EXPECT_EQ(result->seq, 6u);
      supervisor_.send(protocol::Ack{result->run, result->seq});
    }
  }
  supervisor_.send(protocol::Stop{});
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(done, static_cast<int>(kRuns));
  EXPECT_EQ(chunks, static_cast<int>(kRuns) * 5);
}

/// Against a supervisor that has stopped reading.
class AbiBacklog : public Abi {
 protected:
  AbiBacklog() : Abi(1) {}
};

TEST_F(AbiBacklog, LogLinesNobodyReadsAreDroppedAndCounted) {
  connect_ready();
  constexpr std::size_t kLines = 2000;
  const std::string line(protocol::kMaxLogLine, 'x');  // 16 MB of them
  for (std::size_t i = 0; i < kLines; ++i) EXPECT_EQ(bh_log(child_, BH_INFO, line.data(), line.size()), BH_OK);
  std::size_t arrived = 0;
  std::size_t dropped = 0;
  while (dropped == 0) {
    const std::string_view text = supervisor_.expect<protocol::Log>().text;
    if (text.size() == line.size()) {
      ++arrived;
    } else {
      dropped = std::stoul(std::string(text));
    }
  }
  EXPECT_EQ(arrived + dropped, kLines);
  EXPECT_LT(arrived * line.size(), 10u << 20);
}

TEST_F(AbiBacklog, TheNewestProgressArrivesInTheEnd) {
  connect_ready();
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  const std::string large(1 << 20, '1');
  for (int i = 0; i < 100; ++i) EXPECT_EQ(bh_job_progress(job, large.data(), large.size()), BH_OK);
  EXPECT_EQ(bh_job_progress(job, "\"newest\"", 8), BH_OK);
  int older = 0;
  while (supervisor_.expect<protocol::Progress>().body != "\"newest\"") ++older;
  EXPECT_LT(older, 20);
}

TEST_F(AbiBacklog, ResultsAreNeverDropped) {
  connect_ready();
  const std::string large(1 << 20, '1');
  for (protocol::Run run = 1; run <= 20; ++run) {
    supervisor_.run(run, "0");
    EXPECT_EQ(bh_job_done(next_job(), large.data(), large.size(), 0), BH_OK);
  }
  for (protocol::Run run = 1; run <= 20; ++run) EXPECT_EQ(supervisor_.expect<protocol::Done>().run, run);
}

TEST_F(Abi, RefusesWhatMakesNoSense) {
  connect();
  bh_event event{};
  EXPECT_EQ(bh_ready(nullptr, 1), BH_INVALID);
  EXPECT_EQ(bh_ready(child_, 0), BH_INVALID);
  EXPECT_EQ(bh_ready(child_, 1001), BH_INVALID);
  EXPECT_EQ(bh_next(child_, 0, nullptr), BH_INVALID);
  EXPECT_EQ(bh_next(child_, 0, &event), BH_AGAIN);
  EXPECT_EQ(bh_log(child_, BH_INFO, nullptr, 1), BH_INVALID);
  EXPECT_EQ(bh_job_done(nullptr, nullptr, 0, 0), BH_INVALID);
  bh_ready(child_, 1);
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  EXPECT_EQ(bh_job_failed(job, nullptr, 0, nullptr, 0, 0), BH_INVALID);
  EXPECT_EQ(bh_job_done(job, nullptr, 0, 64), BH_INVALID);
  EXPECT_EQ(bh_job_chunk(job, "", 0, 0), BH_INVALID);
  EXPECT_EQ(bh_job_done(job, nullptr, 0, 0), BH_OK);
}

}  // namespace
}  // namespace bulkhead::test
