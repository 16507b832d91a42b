// Keeps true: every job that was handed over has a lane in `posts_`, from before it is submitted until the platform has
// its end; so it is in every ping, is never taken in twice, and is answered even where the core refuses it.
//
// The parts know nothing of each other: takes_ gives jobs, the core runs them, posts_ sends what becomes of them, stops_
// and pings_ go beside. A take opens when the core says that there is room, or a job started, or results went out.

#include "supervisor/source/runpod.hpp"

#include <utility>

#include "supervisor/job/json_text.hpp"

namespace bulkhead {
namespace {

constexpr std::size_t kPollsAtOnce = 8;    // two takes, the stop channel, a ping, a report
constexpr std::size_t kCallsAtOnce = 256;  // results, chunks and progress
/// Results that wait for the platform to take them; beyond that no further jobs are taken.
constexpr std::size_t kUnsentMax = 1'000;

std::vector<std::string> with_json(std::vector<std::string> headers) {
  headers.emplace_back("Content-Type: application/json");
  return headers;
}

Outcome failure(std::string_view error) {
  Outcome outcome;
  std::string text;
  append_json_string(text, error);
  outcome.status = Status::Failed;
  outcome.error = Payload::of(std::move(text));
  return outcome;
}

}  // namespace

RunPodChannel RunPod::channel(std::string what, RunPodCalls& calls) const {
  return {std::move(what), asks_.notices, asks_.random, &calls};
}

RunPod::RunPod(boost::asio::any_io_executor executor, RunPodOptions options, const Clock& clock, Intake& intake,
               Journal& journal, Asks asks)
    : options_(std::move(options)),
      clock_(clock),
      intake_(intake),
      journal_(journal),
      asks_(std::move(asks)),
      urls_(options_.platform),
      refused_(options_.refused_dir),
      polls_(executor, kPollsAtOnce),
      calls_(executor, kCallsAtOnce),
      posts_(executor, calls_, urls_, journal, channel("results to " + urls_.host(), calls_made_.results),
             {.headers = runpod_headers(options_.platform, options_.version),
              .secret = options_.platform.key,
              .stop_pod = options_.platform.stop_pod,
              .keep =
                  [this](std::string_view id, std::string_view reason, const std::vector<Payload>& body) {
                    auto path = refused_.keep(id, reason, body);
                    if (!path.empty() && asks_.notices)
                      asks_.notices({RunPodNotice::Weight::Info, "the refused result is kept in " + path.string(),
                                     std::string(id)});
                  }}),
      takes_(executor, polls_, urls_, channel("takes from " + urls_.host(), calls_made_.takes),
             {.headers = with_json(runpod_headers(options_.platform, options_.version)),
              .check_json = options_.check_json,
              .wanted = [this] { return wanted(); },
              .job_in_progress = asks_.job_in_progress,
              .taken = [this](std::vector<TakenJob> jobs) { taken(std::move(jobs)); }}),
      stops_(
          executor, polls_, urls_, with_json(runpod_headers(options_.platform, options_.version)),
          channel("polls of the stop channel of " + urls_.host(), calls_made_.stops),
          [this] { return !posts_.empty(); }, [this](const std::string& id) { stop(id); }),
      pings_(executor, polls_, urls_, runpod_headers(options_.platform, options_.version),
             options_.platform.ping_interval, channel("pings", calls_made_.pings), [this] { return posts_.jobs(); }) {}

void RunPod::start() {
  pings_.start();
  stops_.look();
  takes_.start();
}

// ---- jobs come -----------------------------------------------------------------------------------------------------

int RunPod::wanted() const {
  if (posts_.unsent() >= kUnsentMax) return 0;
  return asks_.room() + options_.platform.prefetch;
}

void RunPod::taken(std::vector<TakenJob> jobs) {
  for (TakenJob& job : jobs) {
    if (posts_.has(job.id)) continue;  // handed over once more: it is here, and its result will be sent
    posts_.open(job.id);
    if (job.fault.empty())
      submit(std::move(job));
    else
      refuse(job);
  }
  stops_.look();
}

void RunPod::submit(TakenJob taken) {
  Job job;
  job.id = taken.id;
  job.input = std::move(taken.input);
  job.extra = std::move(taken.extra);
  job.policy = options_.policy;
  if (taken.execution_timeout) job.policy.execution_timeout = *taken.execution_timeout;
  intake_.submit(std::move(job),
                 [this, id = std::move(taken.id)](const Accepted& accepted) { answered(id, accepted); });
}

void RunPod::answered(const std::string& job_id, const Accepted& accepted) {
  if (accepted.refusal == Refusal::Duplicate) {
    answer_again(job_id);
  } else if (accepted.refusal != Refusal::None) {
    posts_.answer(job_id, failure("the worker could not keep this job: " + accepted.reason));
    takes_.hold_off("a job could not be kept: " + accepted.reason);
  }
}

/// The platform hands a job over whose result it was sent before: it is not computed twice.
void RunPod::answer_again(const std::string& job_id) {
  journal_.lookup(job_id, [this, job_id](std::optional<Remembered> known) {
    if (const std::string_view why = journal_.unreadable(); !known && !why.empty()) {
      // Without an answer and pings the platform hands it over again; a wrong answer would be in the right one's place.
      posts_.leave(job_id);
      return takes_.hold_off("the result of job " + job_id + ", which was here before: " + std::string(why));
    }
    posts_.answer(job_id, known ? std::move(known->outcome) : failure("a job with this id was here before"));
  });
}

/// A job that cannot be run is answered all the same, as durably as any other: the journal has its end before it is sent.
void RunPod::refuse(const TakenJob& taken) {
  auto job = std::make_shared<Job>();
  job->id = taken.id;
  job->input = Payload({}, "null");
  job->policy = options_.policy;
  job->policy.ttl = milliseconds(1);  // should the end below not be written any more: nobody runs it
  job->submitted_ms = clock_.now().wall_ms;
  auto outcome = std::make_shared<Outcome>(failure(taken.fault));
  outcome->error_type = "NotAJob";
  outcome->finished_ms = job->submitted_ms;
  if (asks_.notices) asks_.notices({RunPodNotice::Weight::Warning, taken.fault, taken.id});
  journal_.accept(*job, [this, job, outcome](std::error_code error) {
    if (error) return posts_.answer(job->id, *outcome);
    journal_.finish(*job, *outcome, [this, job, outcome](std::error_code) {
      posts_.finish(job->id, *outcome, [this, job] { journal_.settle(*job); });
    });
  });
}

// ---- jobs end ------------------------------------------------------------------------------------------------------

void RunPod::report(const Job& job, const Outcome& outcome, std::function<void()> settled) {
  posts_.finish(job.id, outcome, [this, settled = std::move(settled)] {
    settled();
    takes_.look();  // the results that wait may have been too many
  });
}

void RunPod::stop(const std::string& job_id) {
  if (!posts_.has(job_id)) return;
  if (asks_.notices) asks_.notices({RunPodNotice::Weight::Info, "the platform stops this job", job_id});
  posts_.mute(job_id);
  intake_.cancel(job_id);
}

}  // namespace bulkhead
