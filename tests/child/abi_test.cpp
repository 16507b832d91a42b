// Runs: how they come, what they may say and how they end.

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bulkhead/bulkhead.h"
#include "tests/child/abi_fixture.hpp"

namespace bulkhead::test {
namespace {

using protocol::BlackBox;

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
  EXPECT_STREQ(bh_job_traceparent(taken, &size), "");
  EXPECT_EQ(size, 0U);
}

TEST_F(Abi, TheRequestsTraceComesWithItsJob) {
  connect_ready();
  constexpr std::string_view kTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const std::string extra = "{\"traceparent\":\"" + std::string(kTrace) + "\",\"s3Config\":{}}";
  protocol::RunJob job;
  job.run = 9;
  job.job_id = "x";
  job.extra = extra;
  job.input = "[]";
  supervisor_.send(job);
  bh_job* taken = next_job();
  std::size_t size = 0;
  const char* trace = bh_job_traceparent(taken, &size);
  EXPECT_EQ(std::string_view(trace, size), kTrace);
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

TEST_F(Abi, AnOwnedResultIsReleasedOnceWhateverBecomesOfIt) {
  protocol::Welcome welcome;
  welcome.max_body = 20 << 20;
  connect_ready(1, welcome);
  const std::string large(20 << 20, 'x');
  struct Owner {
    std::atomic<int> releases = 0;
    std::promise<void> released;
  };
  const auto release = [](void* user) {
    auto& owner = *static_cast<Owner*>(user);
    if (++owner.releases == 1) owner.released.set_value();
  };
  Owner refused, wrong, taken;
  supervisor_.run(1, "0");
  bh_job* job = next_job();
  EXPECT_EQ(bh_job_done_owned(job, large.data(), large.size() + 1, 0, release, &refused), BH_TOO_LARGE);
  EXPECT_EQ(bh_job_done_owned(job, large.data(), 1, 64, release, &wrong), BH_INVALID);
  EXPECT_EQ(refused.releases, 1);
  EXPECT_EQ(wrong.releases, 1);
  EXPECT_EQ(bh_job_done_owned(job, large.data(), large.size(), 0, release, &taken), BH_OK);
  EXPECT_TRUE(supervisor_.expect<protocol::Done>().output == large);
  EXPECT_EQ(taken.releases, 0) << "let go of before the supervisor said that it has it";
  supervisor_.send(protocol::Ack{1, 1});
  ASSERT_EQ(taken.released.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(taken.releases, 1);
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
