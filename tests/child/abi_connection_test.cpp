// The connection: how it begins, who looks after it, how it breaks and is taken up again, and how it ends.

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "tests/child/abi_fixture.hpp"

namespace bulkhead::test {
namespace {

using protocol::BlackBox;

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
  EXPECT_EQ(supervisor_.expect<protocol::Log>().text, "a");
  EXPECT_EQ(supervisor_.expect<protocol::Log>().text, "b");
  supervisor_.expect<protocol::Ready>();
  EXPECT_EQ(supervisor_.expect<protocol::Progress>().body, "2");
}

TEST_F(Abi, OfLogLinesNoMoreIsKeptThanTheSupervisorSaid) {
  protocol::Welcome little = tolerant();
  little.orphan_buffer = 100;  // a line takes 64 bytes beside its text
  connect_ready(1, little);
  supervisor_.vanish();
  supervisor_.return_anew();
  supervisor_.expect<protocol::Hello>();
  EXPECT_EQ(bh_log(child_, BH_INFO, "a\nb\nc", 5), BH_OK);
  supervisor_.send(tolerant());
  EXPECT_EQ(supervisor_.expect<protocol::Log>().text, "a");
  supervisor_.expect<protocol::Ready>();
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

}  // namespace
}  // namespace bulkhead::test
