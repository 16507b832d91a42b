// One function per group, in the order of docs/METRICS.md. Every series that can ever be there is there from the start, at
// zero: a rate needs the value before the first event.

#include "supervisor/observe/metrics.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <utility>

namespace bulkhead::observe {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

class Families {
 public:
  void begin(MetricType type, std::string name, std::string help) {
    families_.push_back({std::move(name), std::move(help), type, {}});
  }
  template <class Number>
  void add(Number number, Labels labels = {}) {
    ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label = std::move(labels);
    if (families_.back().type == MetricType::Counter)
      metric.counter.value = static_cast<double>(number);
    else
      metric.gauge.value = static_cast<double>(number);
  }
  template <class Number>
  void gauge(std::string name, std::string help, Number number) {
    begin(MetricType::Gauge, std::move(name), std::move(help));
    add(number);
  }
  template <class Number>
  void counter(std::string name, std::string help, Number number) {
    begin(MetricType::Counter, std::move(name), std::move(help));
    add(number);
  }
  void histogram(std::string name, std::string help, const Histogram& values) {
    begin(MetricType::Histogram, std::move(name), std::move(help));
    auto& histogram = families_.back().metric.emplace_back().histogram;
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < values.counts.size(); ++i) {
      below += values.counts[i];
      const bool last = i == Histogram::kBounds.size();
      histogram.bucket.push_back({below, last ? std::numeric_limits<double>::infinity() : Histogram::kBounds[i]});
    }
    histogram.sample_count = values.count;
    histogram.sample_sum = values.sum;
  }
  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  std::vector<prometheus::MetricFamily> families_;
};

constexpr std::string_view outcome_of(Status status) {
  switch (status) {
    case Status::Completed: return "completed";
    case Status::Cancelled: return "cancelled";
    case Status::TimedOut: return "timed_out";
    default: return "failed";
  }
}

void jobs(Families& out, const Snapshot& seen) {
  out.counter("bulkhead_jobs_accepted_total", "Jobs that were taken in.", seen.jobs.accepted);
  out.begin(MetricType::Counter, "bulkhead_jobs_refused_total", "Jobs that were not taken in, by reason.");
  constexpr std::pair<Refusal, const char*> kReasons[] = {{Refusal::Full, "queue_full"},
                                                          {Refusal::Duplicate, "duplicate"},
                                                          {Refusal::Draining, "draining"},
                                                          {Refusal::StoreUnavailable, "store_unavailable"}};
  for (auto [refusal, name] : kReasons)
    out.add(seen.jobs.refused[static_cast<std::size_t>(refusal)], {{"reason", name}});
  out.begin(MetricType::Counter, "bulkhead_jobs_total", "Jobs that ended, by outcome and error type.");
  for (std::size_t i = 0; i < kJobEnds.size(); ++i)
    out.add(seen.jobs.ended[i], {{"outcome", std::string(outcome_of(kJobEnds[i].status))},
                                 {"error_type", std::string(kJobEnds[i].error_type)}});
  out.counter("bulkhead_job_retries_total", "Attempts that were lost and followed by another.", seen.jobs.retried);
  out.gauge("bulkhead_jobs_running", "Jobs that handler processes hold.", seen.queue.running);
  out.gauge("bulkhead_queue_jobs", "Jobs that wait for a handler process.", seen.queue.jobs);
  out.gauge("bulkhead_queue_oldest_age_seconds", "How long the job at the head of the queue has waited.",
            seen.queue.oldest_seconds);
  out.histogram("bulkhead_job_wait_seconds", "Time from a job's submission to the start of its last attempt.",
                seen.jobs.wait);
  out.histogram("bulkhead_job_run_seconds", "Time that a job's last attempt took.", seen.jobs.run);
}

void children(Families& out, const Snapshot& seen) {
  std::array<int, kChildStates.size()> by_state{};
  for (const Child& child : seen.children) ++by_state[static_cast<std::size_t>(child.state)];
  out.begin(MetricType::Gauge, "bulkhead_children", "Handler processes, by state.");
  for (std::size_t i = 0; i < by_state.size(); ++i) {
    std::string state(kChildStates[i]);
    if (auto space = state.find(' '); space != std::string::npos) state[space] = '_';
    out.add(by_state[i], {{"state", std::move(state)}});
  }
  out.begin(MetricType::Gauge, "bulkhead_children_wanted", "Handler processes that there shall be, by kind.");
  out.add(seen.workers_wanted, {{"kind", "worker"}});
  out.add(seen.spares_wanted, {{"kind", "spare"}});
  out.gauge("bulkhead_children_backing_off", "Slots that wait to start a handler process after failed set-ups.",
            seen.backing_off);
  out.begin(MetricType::Counter, "bulkhead_child_restarts_total",
            "Handler processes that ended and were replaced, by cause.");
  for (int i = 0; i < kEndCauses; ++i)
    if (auto cause = static_cast<EndCause>(i); cause != EndCause::Shutdown)
      out.add(seen.restarts[static_cast<std::size_t>(i)], {{"cause", std::string(to_string(cause))}});
  auto by_slot = [&](MetricType type, const char* name, const char* help, auto Slot::*member) {
    out.begin(type, name, help);
    for (std::size_t i = 0; i < seen.slots.size(); ++i) out.add(seen.slots[i].*member, {{"slot", std::to_string(i)}});
  };
  by_slot(MetricType::Gauge, "bulkhead_child_resident_memory_bytes", "Resident memory of a slot's handler process.",
          &Slot::resident_bytes);
  by_slot(MetricType::Counter, "bulkhead_child_cpu_seconds_total",
          "CPU time of all handler processes that a slot has had.", &Slot::cpu_seconds);
  if (seen.gpus.empty()) return;
  by_slot(MetricType::Gauge, "bulkhead_child_gpu_memory_bytes",
          "GPU memory of a slot's handler process, where the driver's process numbers are ours.", &Slot::gpu_bytes);
  auto by_gpu = [&](const char* name, const char* help, auto GpuMemory::*member) {
    out.begin(MetricType::Gauge, name, help);
    for (const GpuMemory& gpu : seen.gpus) out.add(gpu.*member, {{"gpu", std::to_string(gpu.index)}});
  };
  by_gpu("bulkhead_gpu_memory_used_bytes", "Memory in use on a GPU, by whomever.", &GpuMemory::used_bytes);
  by_gpu("bulkhead_gpu_memory_size_bytes", "Memory of a GPU.", &GpuMemory::total_bytes);
}

void journal(Families& out, const Snapshot& seen) {
  if (!seen.journal.kept) return;
  out.histogram("bulkhead_journal_commit_seconds", "Time that a transaction of the journal took to be durable.",
                seen.journal.commits);
  out.gauge("bulkhead_journal_size_bytes", "Size of the journal's file and its log.", seen.journal.bytes);
  out.gauge("bulkhead_journal_backlog_writes", "Writes that wait for the journal.", seen.journal.backlog);
  out.gauge("bulkhead_journal_writable", "Whether the journal can be written: 1, or 0.", seen.journal.writable ? 1 : 0);
}

void platform(Families& out, const Snapshot& seen) {
  if (seen.platform.empty()) return;
  out.begin(MetricType::Counter, "bulkhead_platform_calls_total", "Calls to the platform, by purpose and result.");
  for (const PlatformCalls& calls : seen.platform) {
    const std::pair<const char*, std::uint64_t> kResults[] = {
        {"ok", calls.ok}, {"refused", calls.refused}, {"failed", calls.failed}};
    for (auto [result, count] : kResults) out.add(count, {{"call", std::string(calls.call)}, {"result", result}});
  }
}

void supervisor(Families& out, const Snapshot& seen) {
  out.begin(MetricType::Gauge, "bulkhead_build_info", "Always 1; the version is in its label.");
  out.add(1, {{"version", std::string(seen.version)}});
  out.gauge("bulkhead_ready", "Whether a job would be run now, as /healthz/ready says it: 1, or 0.",
            seen.readiness.ready ? 1 : 0);
  out.gauge("bulkhead_http_connections", "Clients connected.", seen.connections);
  out.gauge("bulkhead_webhooks_waiting", "Webhooks that are still to be delivered.", seen.webhooks);
  out.counter("bulkhead_log_lines_dropped_total", "Lines of the log that were lost because nobody took them in time.",
              seen.log_lines_dropped);
  out.gauge("bulkhead_event_loop_lag_seconds", "The longest that a due timer waited for its turn in the last minute.",
            seen.loop_lag_seconds);
  out.counter("process_cpu_seconds_total", "CPU time of the supervisor.", seen.own.cpu_seconds);
  out.gauge("process_resident_memory_bytes", "Resident memory of the supervisor.", seen.own.resident_bytes);
  out.gauge("process_virtual_memory_bytes", "Virtual memory of the supervisor.", seen.own.virtual_bytes);
  out.gauge("process_open_fds", "Open file descriptors of the supervisor.", seen.own.open_fds);
  out.gauge("process_max_fds", "File descriptors that the supervisor may have open.", seen.own.max_fds);
  out.gauge("process_start_time_seconds", "When the supervisor was started, in seconds since the epoch.",
            seen.own.start_seconds);
}

}  // namespace

std::string to_prometheus(const Snapshot& snapshot) {
  Families out;
  jobs(out, snapshot);
  children(out, snapshot);
  journal(out, snapshot);
  platform(out, snapshot);
  supervisor(out, snapshot);
  return out.text();
}

}  // namespace bulkhead::observe
