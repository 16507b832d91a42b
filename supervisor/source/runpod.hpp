// RunPod's platform as a source of jobs: takes them, returns their results, and answers for this worker (docs/RUNPOD.md).
//
// A job that was taken is a job like any other: it is submitted to the core, which journals it first. Its end is reported
// here and settled when the platform has it; until then the journal keeps it, and the next supervisor delivers it.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/job/ports.hpp"
#include "supervisor/source/http_client.hpp"
#include "supervisor/source/runpod_jobs.hpp"
#include "supervisor/source/runpod_pings.hpp"
#include "supervisor/source/runpod_posts.hpp"
#include "supervisor/source/runpod_refused.hpp"
#include "supervisor/source/runpod_settings.hpp"
#include "supervisor/source/runpod_stops.hpp"
#include "supervisor/source/runpod_takes.hpp"
#include "supervisor/source/runpod_urls.hpp"

namespace bulkhead {

struct RunPodOptions {
  RunPodSettings platform;
  std::string version;  ///< of this program
  Policy policy;        ///< of jobs that bring none
  std::filesystem::path refused_dir;
  JsonCheck check_json;
};

class RunPod final : public Source {
 public:
  /// What is asked of the rest of the house.
  struct Asks {
    std::function<int()> room;              ///< further jobs that could start at once; negative: so many wait
    std::function<bool()> job_in_progress;  ///< a job runs or waits
    std::function<double()> random;         ///< in [0, 1)
    RunPodNotices notices;
  };

  RunPod(boost::asio::any_io_executor executor, RunPodOptions options, const Clock& clock, Intake& intake,
         Journal& journal, Asks asks);
  RunPod(const RunPod&) = delete;
  RunPod& operator=(const RunPod&) = delete;

  /// A job that was here before the supervisor started.
  void recovered(const Recovered& known) { posts_.open(known.job.id, &known); }
  /// Pings from now on; takes when there is room.
  void start();

  /// Of jobs that are taken from now on and bring none.
  void set_policy(const Policy& policy) { options_.policy = policy; }
  /// No further takes. What an open one delivers is still run.
  void drain() { takes_.drain(); }
  bool taking() const { return takes_.open() > 0; }
  /// Open takes are dropped.
  void stop_taking() { takes_.stop(); }
  /// `flushed` is called when the platform has all results.
  void flush(std::function<void()> flushed) { posts_.flush(std::move(flushed)); }
  std::size_t unsent() const { return posts_.unsent(); }
  /// `told` is called when the platform was told, or could not be.
  void unhealthy(std::string_view check, std::string_view reason, std::function<void()> told) {
    pings_.unhealthy(check, reason, std::move(told));
  }

  struct Calls {
    RunPodCalls takes, results, pings, stops;
  };
  const Calls& calls() const { return calls_made_; }

  const std::string& host() const { return urls_.host(); }
  const RunPodSettings& platform() const { return options_.platform; }

  // Source
  void room(int) override { takes_.look(); }
  void started(const Job&, std::string_view, std::int64_t, int) override { takes_.look(); }
  void requeued(const Job&, const Payload&) override {}
  void progress(const Job& job, Payload value) override { posts_.progress(job.id, std::move(value)); }
  void chunk(const Job& job, std::uint32_t number, Payload value, std::function<void()> taken) override {
    posts_.chunk(job.id, number, std::move(value), std::move(taken));
  }
  void report(const Job& job, const Outcome& outcome, std::function<void()> settled) override;
  void log(const Job&, const LogLine&) override {}

 private:
  RunPodChannel channel(std::string what, RunPodCalls& calls) const;
  int wanted() const;
  void taken(std::vector<TakenJob> jobs);
  void submit(TakenJob taken);
  void refuse(const TakenJob& taken);
  void answered(const std::string& job_id, const Accepted& accepted);
  void answer_again(const std::string& job_id);
  void stop(const std::string& job_id);

  RunPodOptions options_;
  const Clock& clock_;
  Intake& intake_;
  Journal& journal_;
  Asks asks_;
  RunPodUrls urls_;
  RunPodRefused refused_;
  Calls calls_made_;
  HttpClient polls_, calls_;  ///< apart, so that neither waits for the other's places
  RunPodPosts posts_;
  RunPodTakes takes_;
  RunPodStops stops_;
  RunPodPings pings_;
};

}  // namespace bulkhead
