// What this file keeps true:
//
// - Every place has a child, or waits for the moment to launch one, until stop().
// - At most Options::workers children serve; a child that is set up and not needed is a spare.
// - A worker is destroyed from the loop, never from within its own calls.
//
// The order at the end: stop() ends the children; when the last is gone, their files are removed and `stopped` is
// called. The destructor ends what is left: timers, workers, link, scratch directories.

#include "supervisor/pool/pool.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace bulkhead::pool {
namespace {

constexpr std::chrono::milliseconds kLeftoversTime{5'000};
constexpr std::chrono::milliseconds kFilesTime{5'000};
constexpr std::chrono::milliseconds kAfterStepIn{10};
/// How often the runs of children with an open window are looked at.
constexpr std::chrono::milliseconds kTick{2};
/// Whoever asks for several children at once costs one reading of /proc.
constexpr std::chrono::milliseconds kCpuTimesKept{100};

Options with_absolute_path(Options options) {
  options.runtime_dir = std::filesystem::absolute(options.runtime_dir).lexically_normal();
  if (!options.runtime_dir.has_filename()) options.runtime_dir = options.runtime_dir.parent_path();  // "dir/"
  return options;
}

std::filesystem::path files_of(const Options& options) { return options.runtime_dir / "children"; }

}  // namespace

Pool::Pool(asio::any_io_executor executor, Options options)
    : executor_(std::move(executor)),
      options_(with_absolute_path(std::move(options))),
      generator_(std::random_device{}()),
      cgroups_(options_.guards, "bulkhead-" + options_.cookie_prefix.substr(0, 8), options_.init,
               process::find_cgroups()),
      symboliser_(executor_, options_.symboliser),
      workers_wanted_(options_.workers),
      spares_wanted_(options_.spares),
      alive_(std::make_shared<int>()),
      flush_timer_(executor_),
      window_timer_(executor_),
      hand_out_timer_(executor_) {
  find_former_children();
  prepare_runtime_dir();
  scratch_ = std::make_unique<process::ScratchRoot>(options_.runtime_dir, kept_scratch());
  link_ = std::make_unique<Link>(executor_, options_.runtime_dir, LinkOptions{.limits = options_.limits});
  make_preload();
  make_places();
  deal_out_devices();
}

Pool::~Pool() {
  alive_.reset();
  workers_.clear();
  gone_.clear();
}

void Pool::end_leftovers(const process::Spared& spared) {
  const auto ended = process::end_leftovers(options_.cookie_prefix, kLeftoversTime, spared);
  if (ended.count > 0)
    remarks_.push_back("ended " + std::to_string(ended.count) + " processes that an earlier supervisor had left");
  predecessor_ended_ = ended.survivors.empty();
  if (const auto more = cgroups_.end_leftovers(options_.cookie_prefix, spared.processes); more > 0)
    remarks_.push_back("ended " + std::to_string(more) + " more that were in their cgroups, under other names");
}

/// Whoever can write there can speak as a child, or read what children write.
void Pool::prepare_runtime_dir() {
  const std::filesystem::path& dir = options_.runtime_dir;
  std::filesystem::create_directories(dir.parent_path());
  if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST)
    throw std::system_error(errno, std::generic_category(), "create the runtime directory " + dir.string());
  struct stat found {};
  if (::stat(dir.c_str(), &found) != 0)
    throw std::system_error(errno, std::generic_category(), "look at the runtime directory " + dir.string());
  if (!S_ISDIR(found.st_mode) || found.st_uid != ::geteuid() || (found.st_mode & 077) != 0)
    throw std::system_error(EPERM, std::generic_category(),
                            "the runtime directory " + dir.string() + " must be its owner's alone (mode 0700)");
  if (predecessor_ended_) predecessor_ = Predecessor(files_of(options_));
  ever_ready_ = Predecessor::was_ready(files_of(options_));
  std::error_code none;
  std::vector<std::filesystem::path> old;
  for (const auto& entry : std::filesystem::directory_iterator(files_of(options_), none))
    if (!is_kept(entry.path())) old.push_back(entry.path());
  for (const std::filesystem::path& file : old) std::filesystem::remove_all(file);
  if (::mkdir(files_of(options_).c_str(), 0700) != 0 && errno != EEXIST)
    throw std::system_error(errno, std::generic_category(), "create " + files_of(options_).string());
  if (options_.first_run != 0) Predecessor::mark(files_of(options_), options_.first_run);
  if (ever_ready_) Predecessor::mark_ready(files_of(options_));
}

void Pool::make_places(int least) {
  while (static_cast<int>(places_.size()) < std::max(least, workers_wanted_ + spares_wanted_))
    places_.emplace_back(static_cast<int>(places_.size()), executor_, options_);
}

void Pool::deal_out_devices() {
  const char* inherited = std::getenv("CUDA_VISIBLE_DEVICES");
  const auto devices = process::devices_of(options_.gpus, process::count_gpus(),
                                           inherited ? std::optional<std::string_view>(inherited) : std::nullopt);
  for (std::size_t i = 0; i < places_.size(); ++i)
    places_[i].devices = process::visible_devices(options_.gpus, devices, i, places_.size());
  if (auto remark = process::sharing_remark(options_.gpus, devices, places_.size())) remarks_.push_back(*remark);
}

void Pool::start(WorkersListener& listener) {
  site_.emplace(WorkerSite{.process = {.executor = executor_,
                                       .options = options_,
                                       .scratch = *scratch_,
                                       .oom = oom_,
                                       .cgroups = cgroups_,
                                       .files = files_of(options_),
                                       .fork_server = [this] { return preload_ ? preload_->server() : nullptr; }},
                           .options = options_,
                           .link = *link_,
                           .runs = runs_,
                           .symboliser = symboliser_,
                           .listener = listener,
                           .owner = *this});
  for (const auto& remark : cgroups_.remarks()) say("", remark.text, kDebug + static_cast<int>(remark.weight));
  adopt_former_children();
  for (const std::string& remark : std::exchange(remarks_, {})) say("", remark);
  if (preload_) preload_->start();
  for (Place& place : places_) launch(place);
}

void Pool::make_preload() {
  if (options_.preload.empty()) return;
  preload_ = std::make_unique<Preload>(executor_, options_, *scratch_,
                                       Preload::Handlers{.say = [this](std::string_view text) { say("preload", text); },
                                                         .decided =
                                                             [this] {
                                                               for (Place& place : places_)
                                                                 if (!place.waiting) launch(place);
                                                             }});
}

std::string Pool::Place::child_id() const {
  std::string id = "w";
  id += std::to_string(index);
  id += '.';
  return id += std::to_string(generation);
}

// ---- places --------------------------------------------------------------------------------------------------------

void Pool::launch(Place& place) {
  if (stopping_ || !is_wanted(place) || place.worker != nullptr) return;
  if (preload_ && preload_->undecided()) return;
  const int jitter = options_.max_jobs_per_worker / 10;
  const int max_jobs = options_.max_jobs_per_worker + std::uniform_int_distribution<>(-jitter, jitter)(generator_);
  ++place.generation;
  auto worker = std::make_unique<Worker>(*site_, ++last_number_, place.index, place.child_id(), max_jobs);
  if (auto failure = worker->launch(place.devices)) {
    if (!failure->transient) place.backoff.lose_patience();
    if (ends_)
      ends_({.slot = place.index,
             .id = place.child_id(),
             .cause = EndCause::Setup,
             .replaced = true,
             .how = "could not be started"});
    return setup_failed(place, failure->text);
  }
  place.worker = worker.get();
  workers_.emplace(worker->number(), std::move(worker));
}

/// The worker's place is free for the next.
void Pool::vacate(Worker& worker) {
  auto place = std::find_if(places_.begin(), places_.end(), [&](const Place& p) { return p.worker == &worker; });
  if (place == places_.end()) return;
  place->worker = nullptr;
  if (stopping_ || !is_wanted(*place)) return;
  if (worker.hopeless()) place->backoff.lose_patience();
  if (!worker.proved()) return setup_failed(*place, worker.obituary());
  place->backoff.succeeded();
  // To launch takes the loop's time. Where a spare has stepped in, its first job goes before.
  if (serving_ == workers_wanted_)
    launch_after(*place, kAfterStepIn);
  else
    launch(*place);
}

void Pool::launch_after(Place& place, milliseconds wait) {
  place.again.expires_after(wait);
  place.again.async_wait([this, &place, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (error || alive.expired()) return;
    place.waiting = false;
    launch(place);
  });
}

void Pool::setup_failed(Place& place, const std::string& reason) {
  const milliseconds wait = place.backoff.failed(random());
  const std::string text = reason + "\nset-up failed " + std::to_string(place.backoff.failures()) +
                           (place.backoff.failures() == 1 ? " time" : " times in a row") + ", trying again in " +
                           std::to_string(wait.count()) + " ms";
  say(place.child_id(), text);
  place.waiting = true;
  launch_after(place, wait);
  if (!place.backoff.exhausted() || std::exchange(unhealthy_, true)) return;
  site_->listener.unhealthy(reason, !ever_ready_);
}

void Pool::say(std::string_view worker_id, std::string_view text, int level) {
  site_->listener.log({.run = 0, .worker_id = worker_id, .level = level, .stream = "pool", .text = text});
}

void Pool::set_up(Worker& worker) {
  if (!std::exchange(ever_ready_, true)) Predecessor::mark_ready(files_of(options_));
  if (std::exchange(unhealthy_, false)) site_->listener.healthy();
  if (worker.served()) worker.activate();
  if (outdated_.erase(worker.number()) > 0) worker.retire();
  serve_with_spares();
}

void Pool::leaving(Worker& worker) {
  if (worker.served()) --serving_;
  serve_with_spares();
}

void Pool::serve_with_spares() {
  while (!stopping_ && serving_ < workers_wanted_) {
    auto oldest = std::find_if(workers_.begin(), workers_.end(),
                               [](const auto& entry) { return entry.second->state() == WorkerState::Spare; });
    if (oldest == workers_.end()) return;
    ++serving_;
    oldest->second->activate();
  }
}

void Pool::dead(Worker& worker) {
  if (ends_) {
    const auto& status = worker.status();
    const bool wanted = std::any_of(places_.begin(), places_.end(),
                                    [&](const Place& place) { return place.worker == &worker && is_wanted(place); });
    ends_({.slot = worker.slot(),
           .id = worker.id(),
           .cause = worker.end_cause(),
           .replaced = wanted && !stopping_,
           .how = status ? status->describe() : "could not be started",
           .cpu = status ? status->user_time + status->system_time : std::chrono::microseconds(0)});
  }
  const bool has_device = std::any_of(places_.begin(), places_.end(), [&](const Place& place) {
    return place.worker == &worker && place.devices && !place.devices->empty();
  });
  if (!has_device) vacate(worker);
}

void Pool::gone(Worker& worker) {
  vacate(worker);
  auto found = workers_.find(worker.number());
  gone_.push_back(std::move(found->second));
  workers_.erase(found);
  asio::post(executor_, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) destroy_gone();
  });
}

void Pool::destroy_gone() {
  gone_.clear();
  if (!stopping_ || !workers_.empty() || !stopped_) return;
  if (preload_ && !std::exchange(preload_stopped_, true))
    return preload_->stop([this, alive = std::weak_ptr(alive_)] {
      if (alive.expired()) return;
      preload_.reset();
      destroy_gone();
    });
  if (preload_) return;
  scratch_->wait_until_clean(kFilesTime);
  std::error_code ignored;  // an empty directory left behind is swept at the next start
  std::filesystem::remove_all(files_of(options_), ignored);
  std::exchange(stopped_, nullptr)();
}

void Pool::resize(int workers, int spares) {
  if (stopping_) return;
  workers_wanted_ = workers;
  spares_wanted_ = spares;
  make_places();
  deal_out_devices();
  for (const std::string& remark : std::exchange(remarks_, {})) say("", remark);
  std::vector<Worker*> surplus;
  for (Place& place : places_) {
    if (is_wanted(place)) {
      if (place.worker == nullptr && !place.waiting) launch(place);
      continue;
    }
    place.again.cancel();
    place.waiting = false;
    if (place.worker != nullptr) surplus.push_back(place.worker);
  }
  for (Worker* worker : surplus)
    worker->state() == WorkerState::Ready ? worker->retire() : worker->stop(options_.stop_time);
  // Of those that serve more are left than shall: a fresh child in such a place becomes a spare.
  // Those that retire serve until their jobs have ended, and are none of them.
  std::vector<Worker*> ready;
  for (auto entry = workers_.rbegin(); entry != workers_.rend(); ++entry)
    if (entry->second->state() == WorkerState::Ready) ready.push_back(entry->second.get());
  for (std::size_t i = 0; i + static_cast<std::size_t>(workers_wanted_) < ready.size(); ++i) ready[i]->retire();
  serve_with_spares();
}

void Pool::dump() {
  std::vector<Worker*> all;
  for (auto& [number, worker] : workers_) all.push_back(worker.get());
  for (Worker* worker : all) worker->dump();
}

void Pool::stop(milliseconds grace, std::function<void()> stopped) {
  stopping_ = true;
  stopped_ = std::move(stopped);
  for (Place& place : places_) {
    place.again.cancel();
    place.waiting = false;
  }
  std::vector<Worker*> all;
  for (auto& [number, worker] : workers_) all.push_back(worker.get());
  for (Worker* worker : all) worker->stop(grace);
  asio::post(executor_, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) destroy_gone();
  });
}

// ---- what is owed to children --------------------------------------------------------------------------------------

void Pool::owes_acks(bool urgent) {
  if (urgent && !std::exchange(flush_posted_, true)) {
    asio::post(executor_, [this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) flush_soon();
    });
  }
  if (urgent || std::exchange(flush_timer_on_, true)) return;
  flush_timer_.expires_after(options_.ack_delay);
  flush_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) flush_later();
  });
}

void Pool::flush_soon() {
  flush_posted_ = false;
  for (auto& [number, worker] : workers_) worker->flush_acks(true);
}

void Pool::flush_later() {
  flush_timer_on_ = false;
  for (auto& [number, worker] : workers_) {
    worker->flush_acks(false);
    worker->pass_progress();
  }
}

void Pool::window_opened() {
  if (std::exchange(window_timer_on_, true)) return;
  window_timer_.expires_after(kTick);
  window_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) tick();
  });
}

void Pool::tick() {
  window_timer_on_ = false;
  link_->look();  // that we are late is not the child's fault
  const auto now = std::chrono::steady_clock::now();
  bool more = false;
  for (auto& [number, worker] : workers_) more = worker->tick(now) || more;
  if (more) window_opened();
}

// ---- the core's commands -------------------------------------------------------------------------------------------

Worker* Pool::find(WorkerNumber number) {
  auto found = workers_.find(number);
  return found == workers_.end() ? nullptr : found->second.get();
}

void Pool::send(const Assignment& assignment) {
  Worker* worker = find(assignment.worker);
  if (!worker) return;
  worker->run(assignment);
  if (worker->concurrency() > 1 && workers_.size() > 1) watch_hand_outs();
}

void Pool::cancel(RunNumber number, StopReason reason) {
  if (Run* run = runs_.find(number)) run->worker->cancel(*run, reason);
}

void Pool::recall(RunNumber number) {
  if (Run* run = runs_.find(number)) run->worker->recall(*run);
}

void Pool::acknowledge(RunNumber number, std::uint32_t seq) {
  if (Run* run = runs_.find(number)) run->worker->acknowledge(*run, seq);
}

void Pool::terminate(WorkerNumber number) {
  if (Worker* worker = find(number)) worker->terminate();
}

void Pool::kill(WorkerNumber number, std::string reason) {
  if (Worker* worker = find(number)) worker->kill(std::move(reason));
}

void Pool::refresh(WorkerNumber number) {
  if (Worker* worker = find(number)) worker->refresh();
}

std::optional<std::chrono::microseconds> Pool::cpu_time(WorkerNumber number) {
  Worker* worker = find(number);
  if (!worker || worker->pid() == 0) return std::nullopt;
  const auto now = std::chrono::steady_clock::now();
  if (now - cpu_times_at_ > kCpuTimesKept) {
    cpu_times_ = process::CpuTimes::read();
    cpu_times_at_ = now;
  }
  return cpu_times_.of(worker->pid());
}

void Pool::examine(RunNumber number, std::function<void(Payload)> seen) {
  Run* run = runs_.find(number);
  if (!run) return seen({});
  run->worker->examine(*run, std::move(seen));
}

// ---- onlookers -----------------------------------------------------------------------------------------------------

std::vector<WorkerView> Pool::snapshot() const {
  std::vector<WorkerView> views;
  for (const auto& [number, worker] : workers_) {
    WorkerView view{.number = number,
                    .slot = worker->slot(),
                    .id = worker->id(),
                    .pid = worker->pid(),
                    .state = worker->state(),
                    .since = worker->since(),
                    .concurrency = worker->concurrency(),
                    .window = worker->window(),
                    .jobs_done = worker->jobs_done()};
    for (const Run& run : worker->open_runs())
      view.runs.push_back({.run = run.number,
                           .job_id = run.job_id,
                           .attempt = run.attempt,
                           .entered = run.started,
                           .since = run.started && run.entered != Run::Time{} ? run.entered : run.handed});
    views.push_back(std::move(view));
  }
  return views;
}

int Pool::backing_off() const {
  return static_cast<int>(std::count_if(places_.begin(), places_.end(), [](const Place& p) { return p.waiting; }));
}

}  // namespace bulkhead::pool
