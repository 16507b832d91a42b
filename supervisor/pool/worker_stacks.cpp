// Where a stalled job stands: the process is asked, writes it into its crash file, and the addresses are given names, thread
// after thread, for as long as there is time.

#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "supervisor/pool/worker.hpp"

namespace bulkhead::pool {
namespace {

constexpr milliseconds kLookAgain{20};
constexpr milliseconds kAnswerTime{4'000};  // a machine under load schedules a thread that late
constexpr milliseconds kNamesTime{4'000};   // from then on addresses stay addresses
constexpr std::size_t kNamedThreads = 16;

}  // namespace

struct Worker::Examination {
  explicit Examination(const asio::any_io_executor& executor) : timer(executor) {}
  RunNumber run = 0;
  std::function<void(Payload)> seen;
  asio::steady_timer timer;
  Time begun = std::chrono::steady_clock::now();
  process::Stacks stacks;
  std::size_t next = 0;  ///< thread to be given names
  std::vector<std::string> lines;
};

void Worker::examine(Run& run, std::function<void(Payload)> seen) {
  if (examination_ || state_ >= WorkerState::Ending || !process_.ask_for_stacks()) return seen({});
  examination_ = std::make_shared<Examination>(site_.process.executor);
  examination_->run = run.number;
  examination_->seen = std::move(seen);
  look_for_stacks();
}

void Worker::look_for_stacks() {
  Examination& now = *examination_;
  if (auto stacks = process_.take_stacks()) {
    now.stacks = std::move(*stacks);
    now.begun = std::chrono::steady_clock::now();
    return name_next_thread();
  }
  if (std::chrono::steady_clock::now() - now.begun > kAnswerTime || state_ >= WorkerState::Ending) return examined();
  now.timer.expires_after(kLookAgain);
  now.timer.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) look_for_stacks();
  });
}

void Worker::name_next_thread() {
  Examination& now = *examination_;
  if (now.next == now.stacks.threads.size() || now.next == kNamedThreads) return examined();
  const process::CrashFile& thread = now.stacks.threads[now.next++];
  now.lines.push_back("thread " + (thread.thread_name.empty() ? "?" : thread.thread_name) + ":");
  auto named = [this, alive = std::weak_ptr(alive_)](const std::vector<std::string>& stack) {
    if (alive.expired() || !examination_) return;
    for (const std::string& frame : stack) examination_->lines.push_back("  " + frame);
    name_next_thread();
  };
  if (std::chrono::steady_clock::now() - now.begun > kNamesTime) return named(process::plain_stack(thread));
  site_.symboliser.symbolise(thread, site_.options.stack_time, named);
}

void Worker::examined() {
  const auto done = std::exchange(examination_, nullptr);
  const Run* run = find(done->run);
  if (!run || done->stacks.threads.empty()) return done->seen({});
  process::CrashRecord record;
  record.error_type = "Stalled";
  record.error_message =
      "stalled: the job said nothing and used no CPU time for as long as its stall timeout (policy.stallTimeout) "
      "allows, "
      "and was stopped";
  record.stack = std::move(done->lines);
  record.interpreter_stack = std::move(done->stacks.interpreter);
  done->seen(to_payload(record, *run));
}

}  // namespace bulkhead::pool
