// What a child has on this machine is made before it starts and removed when it was buried: scratch directory, black box,
// crash file, the FIFOs of its output. Whoever kills it notes that first, so that its own SIGKILL is told from others'.

#include "supervisor/pool/child_process.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>
#include <variant>

#include "protocol/crash_file.hpp"
#include "protocol/environment.hpp"
#include "supervisor/process/process_table.hpp"

namespace bulkhead::pool {
namespace {

void create_empty(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "create " + path.string());
  close(fd);
}

}  // namespace

process::SpawnPlan base_plan(const Options& options) {
  process::SpawnPlan plan;
  plan.argv = options.command;
  plan.cwd = options.cwd;
  plan.environment = options.environment;
  plan.environment_removed = options.environment_removed;
  plan.limits = options.limits_of_process;
  plan.oom_score_adj = options.oom_score_adj;
  return plan;
}

ChildProcess::ChildProcess(ProcessSite& site, std::string_view worker_id, Handlers handlers)
    : site_(site), worker_id_(worker_id), handlers_(std::move(handlers)) {}

ChildProcess::~ChildProcess() {
  alive_.reset();
  child_.reset();
  remove_files();
}

process::Output::Names ChildProcess::output_names() const {
  return {site_.files / (worker_id_ + ".stdout"), site_.files / (worker_id_ + ".stderr")};
}

void ChildProcess::prepare() {
  scratch_ = site_.scratch.make(worker_id_);
  black_box_ = process::BlackBoxFile::create(site_.files / (worker_id_ + ".box"));
  crash_file_ = site_.files / (worker_id_ + ".crash");
  create_empty(crash_file_);
  output_.emplace(
      site_.executor, [this](process::Stream stream, std::string_view line) { handlers_.printed(stream, line); },
      process::Output::Limits{}, output_names(), process::Output::Open::Make);
  cookie_ = process::make_cookie(site_.options.cookie_prefix);
  leaf_ = site_.cgroups.make(worker_id_);
  oom_at_launch_ = oom_counts();
}

/// Its own cgroup's where there is one that counts: what is killed elsewhere in the supervisor's says nothing of it.
process::OomCounts ChildProcess::oom_counts() const {
  process::OomCounts counts = site_.oom.read();
  if (auto own = leaf_.oom_kills()) counts.cgroup = own;
  return counts;
}

std::optional<LaunchFailure> ChildProcess::launch(std::string_view endpoint, std::string_view token,
                                                  const std::optional<std::string>& devices) {
  token_ = token;
  try {
    prepare();
  } catch (const std::system_error& error) {
    remove_files();
    return LaunchFailure{error.what(), true};
  }
  process::SpawnPlan how = plan(endpoint, token, devices);
  process::ForkServer* server = site_.fork_server ? site_.fork_server() : nullptr;
  if (server == nullptr) return start(how);
  fork(*server, std::move(how));
  return std::nullopt;
}

process::SpawnPlan ChildProcess::plan(std::string_view endpoint, std::string_view token,
                                      const std::optional<std::string>& devices) const {
  namespace env = protocol::environment;
  process::SpawnPlan plan = base_plan(site_.options);
  plan.environment.emplace_back(env::kSocket, endpoint);
  plan.environment.emplace_back(env::kToken, token);
  plan.environment.emplace_back(env::kBlackBox, black_box_->path().string());
  plan.environment.emplace_back(env::kCrashFile, crash_file_.string());
  plan.environment.emplace_back(env::kWorkerId, worker_id_);
  if (devices) plan.environment.emplace_back("CUDA_VISIBLE_DEVICES", *devices);
  plan.cookie = cookie_;
  plan.scratch = scratch_.path();
  plan.cgroups = leaf_.directories();
  site_.cgroups.add_limits(plan.limits);
  plan.stdout_fd = output_->stdout_fd();
  plan.stderr_fd = output_->stderr_fd();
  return plan;
}

std::optional<LaunchFailure> ChildProcess::start(const process::SpawnPlan& plan) {
  process::LaunchResult result = process::launch(site_.executor, plan);
  if (auto* error = std::get_if<process::LaunchError>(&result)) {
    output_->start();
    output_->close();
    remove_files();
    return LaunchFailure{error->text, error->is_transient()};
  }
  begin(std::move(std::get<process::Child>(result)));
  return std::nullopt;
}

void ChildProcess::begin(process::Child child) {
  output_->start();
  child_.emplace(std::move(child));
  child_->async_wait([this](const process::ExitStatus& status) { exited(status); });
  if (site_.options.orphan_timeout.count() > 0) leave_record();
  if (kill_wanted_) kill();
}

/// What the server cannot do is done the ordinary way, a little later.
void ChildProcess::fork(process::ForkServer& server, process::SpawnPlan plan) {
  server.fork(plan, [this, plan, alive = std::weak_ptr(alive_)](process::ForkServer::Forked forked) {
    if (alive.expired()) return;
    if (auto* child = std::get_if<process::Child>(&forked)) return begin(std::move(*child));
    std::optional<LaunchFailure> failure;
    if (kill_wanted_) {
      output_->close();
      remove_files();
      failure = LaunchFailure{"it was to end before it had begun", true};
    } else {
      failure = start(plan);
    }
    if (failure) handlers_.failed(*failure);
  });
}

void ChildProcess::leave_record() {
  auto identity = process::identity_of(child_->pid());
  if (!identity) return;
  try {
    write({.id = worker_id_,
           .process = std::move(*identity),
           .token = token_,
           .cookie = cookie_,
           .scratch = std::filesystem::path(scratch_.path()).filename(),
           .first_run = site_.options.first_run,
           .command = digest_of(site_.options.command)},
          site_.files);
  } catch (const std::system_error&) {
    // Without it the next supervisor would end this child, and not adopt it.
  }
}

void ChildProcess::adopt(const ChildRecord& record, process::Child child) {
  cookie_ = record.cookie;
  scratch_ = site_.scratch.take_up(record.scratch);
  crash_file_ = site_.files / (worker_id_ + ".crash");
  child_.emplace(std::move(child));
  child_->async_wait([this](const process::ExitStatus& status) { exited(status); });
  try {
    black_box_ = process::BlackBoxFile::open(site_.files / (worker_id_ + ".box"));
    leaf_ = site_.cgroups.make(worker_id_);
    oom_at_launch_ = oom_counts();
    if (leaf_.oom_kills()) oom_at_launch_.cgroup = 0;  // it is this child's alone
    output_.emplace(
        site_.executor, [this](process::Stream stream, std::string_view line) { handlers_.printed(stream, line); },
        process::Output::Limits{}, output_names(), process::Output::Open::Reopen);
    output_->start();
  } catch (const std::system_error&) {
    // Somebody has removed its files: nothing is known of what it entered, or nothing is heard of what it prints.
  }
}

void ChildProcess::terminate() {
  if (!child_) kill_wanted_ = true;
  if (!child_ || status_) return;
  child_->signal(SIGTERM);
  child_->signal(SIGCONT);
}

void ChildProcess::abort() {
  if (!child_) kill_wanted_ = true;
  if (!child_ || status_) return;
  child_->signal(SIGABRT);
  child_->signal(SIGCONT);
}

void ChildProcess::kill() {
  kill_wanted_ = true;
  if (!child_ || status_) return;
  if (child_->signal(SIGKILL)) killed_by_us_ = true;
  child_->signal_group(SIGKILL);
}

void ChildProcess::exited(const process::ExitStatus& status) {
  child_->signal_group(SIGKILL);
  status_ = status;
  oom_verdict_ = process::judge_oom(status, killed_by_us_, oom_at_launch_, oom_counts());
  handlers_.ended();
}

void ChildProcess::end_strays(std::function<void(const process::StrayReport&)> ended) {
  assert(status_);
  process::end_strays(
      site_.executor, *child_, cookie_, site_.options.strays_time,
      [ended = std::move(ended)](process::StrayReport strays) { ended(strays); }, &leaf_);
}

void ChildProcess::bury() {
  child_->reap();
  if (output_) output_->close();
  remove_files();
}

void ChildProcess::remove_files() noexcept {
  remove_child_record(worker_id_, site_.files);
  scratch_.discard();
  leaf_.discard();
  if (black_box_) black_box_->remove();
  if (!crash_file_.empty()) unlink(crash_file_.c_str());
  for (const std::filesystem::path& fifo : {output_names().out, output_names().err}) unlink(fifo.c_str());
}

std::optional<process::BlackBoxSnapshot> ChildProcess::last_words() const {
  return black_box_ ? black_box_->read() : std::nullopt;
}

std::optional<process::CrashFile> ChildProcess::crash() const { return process::read_crash_file(crash_file_); }

bool ChildProcess::ask_for_stacks() {
  const int signal = protocol::crash_file::stacks_signal();
  if (!child_ || status_ || !process::catches(pid(), signal)) return false;
  std::error_code ignored;
  std::filesystem::resize_file(crash_file_, 0, ignored);
  return child_->signal(signal);
}

std::optional<process::Stacks> ChildProcess::take_stacks() {
  const std::string text = process::read_text(crash_file_);
  auto stacks = process::parse_stacks(text);
  std::error_code ignored;
  // If it is falling apart meanwhile, its last words stay.
  if (stacks && std::filesystem::file_size(crash_file_, ignored) == text.size())
    std::filesystem::resize_file(crash_file_, 0, ignored);
  return stacks;
}

process::CrashRecord ChildProcess::describe(std::string_view remark) const {
  std::string text(remark);
  if (!oom_verdict_.remark.empty()) {
    if (!text.empty()) text += "; ";
    text += oom_verdict_.remark;
  }
  return process::describe_crash(pid(), *status_, oom_verdict_.oom_killed, text);
}

}  // namespace bulkhead::pool
