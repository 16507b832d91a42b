// Nothing here is kept but what its sources forget: a snapshot is made of theirs, each time anew.
//
// A child's CPU time is read while it lives and taken from its exit status once it is dead, so a slot's sum goes on where
// the last child's ended. The two clocks differ by a tick, and a sum must not go back: the larger one is shown.

#include "supervisor/overview.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "supervisor/config/config.hpp"

namespace bulkhead {
namespace {

using namespace std::chrono_literals;
using std::chrono::duration_cast;
using std::chrono::steady_clock;

constexpr auto kTurn = 1s;
/// A loop that is later than this is not alive: whatever it waits for, it serves nobody.
constexpr auto kNotAlive = 10s;

static_assert(static_cast<int>(pool::WorkerState::Dead) == static_cast<int>(observe::ChildState::Dead));

bool is_set_up(pool::WorkerState state) {
  return state == pool::WorkerState::Ready || state == pool::WorkerState::Spare;
}

double seconds(std::chrono::microseconds time) { return static_cast<double>(time.count()) / 1e6; }

}  // namespace

Overview::Overview(boost::asio::any_io_executor executor, Parts parts)
    : parts_(std::move(parts)), timer_(std::move(executor)) {
  parts_.dispatcher.set_watcher(counts_);
}

void Overview::start() {
  gpus_.emplace();
  due_ = steady_clock::now() + kTurn;
  turn();
}

void Overview::turn() {
  timer_.expires_at(due_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    const Time now = steady_clock::now();
    lags_[turns_++ % lags_.size()] = seconds(duration_cast<std::chrono::microseconds>(now - due_));
    due_ = now + kTurn;
    turn();
  });
}

bool Overview::alive() const { return due_ == Time{} || steady_clock::now() < due_ + kNotAlive; }

void Overview::child_ended(const ChildEnd& end) {
  const auto slot = static_cast<std::size_t>(end.slot);
  if (used_cpu_.size() <= slot) used_cpu_.resize(slot + 1);
  used_cpu_[slot] += seconds(end.cpu);
  feed_.happened();
  if (!end.replaced) return;
  ++restarts_[static_cast<std::size_t>(end.cause)];
  if (last_restarts_.size() == observe::kRestartsKept) last_restarts_.pop_front();
  last_restarts_.push_back({.at_ms = parts_.clock.now().wall_ms,
                            .child = std::string(end.id),
                            .slot = end.slot,
                            .cause = end.cause,
                            .how = std::string(end.how)});
}

observe::Readiness Overview::readiness() const {
  if (parts_.phase() != "serving") return {false, "the supervisor is ending"};
  if (!parts_.journal.health().writable) return {false, "the journal cannot be written"};
  if (!parts_.dispatcher.accepts()) return {false, "the queue is full"};
  const auto children = parts_.pool ? parts_.pool->snapshot() : std::vector<pool::WorkerView>();
  if (std::none_of(children.begin(), children.end(), [](const auto& child) { return is_set_up(child.state); }))
    return {false, "no handler process is ready"};
  if (parts_.wanted().first == 0) return {false, "scaled to 0 workers"};
  return {true, {}};
}

observe::Snapshot Overview::snapshot() const {
  const Instant now = parts_.clock.now();
  observe::Snapshot seen;
  seen.at_ms = now.wall_ms;
  seen.version = config::version();
  seen.phase = parts_.phase();
  seen.readiness = readiness();
  seen.accepts = seen.phase == "serving" && parts_.journal.health().writable && parts_.dispatcher.accepts();
  seen.jobs = counts_.totals();
  const auto counts = parts_.dispatcher.counts();
  seen.queue = {.jobs = counts.queued, .running = counts.running};
  if (auto oldest = parts_.dispatcher.oldest_ms())
    seen.queue.oldest_seconds = static_cast<double>(std::max<std::int64_t>(0, now.wall_ms - *oldest)) / 1e3;
  seen.own = observe::own_usage();
  if (gpus_) seen.gpus = gpus_->last();
  std::tie(seen.workers_wanted, seen.spares_wanted) = parts_.wanted();
  add_children(seen);
  seen.restarts = restarts_;
  seen.last_restarts.assign(last_restarts_.begin(), last_restarts_.end());
  auto figures = parts_.journal.figures();
  seen.journal = {.kept = figures.kept,
                  .writable = parts_.journal.health().writable,
                  .bytes = figures.bytes,
                  .backlog = parts_.journal.backlog(),
                  .commits = figures.commits};
  seen.platform = platform_calls();
  seen.webhooks = parts_.webhooks();
  seen.connections = parts_.connections();
  seen.log_lines_dropped = parts_.log_lines_dropped();
  seen.loop_lag_seconds = *std::max_element(lags_.begin(), lags_.end());
  return seen;
}

void Overview::add_children(observe::Snapshot& seen) const {
  seen.slots.resize(std::max(used_cpu_.size(), static_cast<std::size_t>(seen.workers_wanted + seen.spares_wanted)));
  for (std::size_t i = 0; i < used_cpu_.size(); ++i) seen.slots[i].cpu_seconds = used_cpu_[i];
  if (!parts_.pool) return;
  seen.backing_off = parts_.pool->backing_off();
  const Time now = steady_clock::now();
  const auto age = [&](Time since) { return duration_cast<milliseconds>(now - since); };
  for (const pool::WorkerView& view : parts_.pool->snapshot()) {
    observe::Child& child = seen.children.emplace_back();
    child.id = view.id;
    child.slot = view.slot;
    child.pid = view.pid;
    child.state = static_cast<observe::ChildState>(view.state);
    child.in_state = age(view.since);
    child.concurrency = view.concurrency;
    child.window = view.window;
    child.jobs_done = view.jobs_done;
    for (const auto& run : view.runs)
      child.jobs.push_back({.id = std::string(run.job_id),
                            .run = run.run,
                            .attempt = run.attempt,
                            .entered = run.entered,
                            .age = age(run.since)});
    for (const observe::GpuMemory& gpu : seen.gpus)
      for (const auto& process : gpu.processes)
        if (process.pid == child.pid) child.gpu_bytes = child.gpu_bytes.value_or(0) + process.bytes;
    const auto slot = static_cast<std::size_t>(view.slot);
    if (seen.slots.size() <= slot) seen.slots.resize(slot + 1);
    auto usage = view.state == pool::WorkerState::Dead ? std::nullopt : observe::usage_of(view.pid);
    if (!usage) continue;
    child.resident_bytes = usage->resident_bytes;
    child.cpu_seconds = usage->cpu_seconds;
    seen.slots[slot].resident_bytes += usage->resident_bytes;
    seen.slots[slot].cpu_seconds += usage->cpu_seconds;
    seen.slots[slot].gpu_bytes += child.gpu_bytes.value_or(0);
  }
  shown_cpu_.resize(seen.slots.size());
  for (std::size_t i = 0; i < seen.slots.size(); ++i)
    seen.slots[i].cpu_seconds = shown_cpu_[i] = std::max(shown_cpu_[i], seen.slots[i].cpu_seconds);
}

std::vector<observe::PlatformCalls> Overview::platform_calls() const {
  if (!parts_.platform) return {};
  const RunPod::Calls& calls = parts_.platform->calls();
  std::vector<observe::PlatformCalls> seen;
  for (auto [name, of] : {std::pair("take", &calls.takes), std::pair("result", &calls.results),
                          std::pair("ping", &calls.pings), std::pair("stop", &calls.stops)})
    seen.push_back({.call = name, .ok = of->ok, .refused = of->refused, .failed = of->failed});
  return seen;
}

}  // namespace bulkhead
