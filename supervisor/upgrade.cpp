// A probe is one process with a deadline. Whoever asks while it runs waits for the same answer; it is given before the hand-over
// begins, so that those who asked over HTTP are told by the supervisor they asked.

#include "supervisor/upgrade.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdlib>
#include <utility>
#include <variant>

#include "supervisor/become_init.hpp"
#include "supervisor/config/config.hpp"
#include "supervisor/init/channel.hpp"
#include "supervisor/probe.hpp"
#include "supervisor/process/launch.hpp"
#include "supervisor/process/output.hpp"

namespace bulkhead {
namespace {

constexpr std::size_t kLongestReason = 600;
constexpr std::string_view kTrial = "trial ";
constexpr std::string_view kBack = "back ";

std::string explain(const process::ExitStatus& status) {
  if (status.how == process::ExitStatus::How::Exited) return "it ended with code " + std::to_string(status.code);
  if (status.how != process::ExitStatus::How::Killed) return "it ended";
  const char* name = sigabbrev_np(status.signal);
  return "SIG" + std::string(name != nullptr ? name : "?") + " ended it";
}

}  // namespace

/// One run of the program at our path, told to say whether it would serve.
class Upgrade::Probe {
 public:
  /// `refusal` is empty where it would.
  using Done = std::function<void(const std::string& refusal, const std::string& version)>;

  Probe(const boost::asio::any_io_executor& executor, Done done)
      : done_(std::move(done)),
        timer_(executor),
        output_(executor, [this](process::Stream stream, std::string_view line) { take(stream, line); }) {}

  void start(const std::string& listening) {
    process::SpawnPlan plan;
    plan.environment.emplace_back(kListening, listening);
    plan.argv = {own_words().front(), "probe", std::to_string(init::kChannelVersion)};
    plan.argv.insert(plan.argv.end(), own_words().begin() + 1, own_words().end());
    plan.stdout_fd = output_.stdout_fd();
    plan.stderr_fd = output_.stderr_fd();
    auto launched = process::launch(timer_.get_executor(), plan);
    output_.start();
    if (auto* error = std::get_if<process::LaunchError>(&launched)) {
      boost::asio::post(timer_.get_executor(), [this, weak = std::weak_ptr(alive_), text = error->text] {
        if (!weak.expired()) done_(text, "");
      });
      return;
    }
    child_.emplace(std::move(std::get<process::Child>(launched)));
    child_->async_wait([this](const process::ExitStatus& status) { ended(status); });
    timer_.expires_after(kProbeTime);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      late_ = true;
      child_->signal_group(SIGKILL);
    });
  }

 private:
  void take(process::Stream stream, std::string_view line) {
    if (stream == process::Stream::Stdout && line.starts_with(kProbed)) {
      line.remove_prefix(kProbed.size());
      version_ = line.substr(0, line.find('"'));
    } else if (said_.size() < kLongestReason) {
      said_.append(said_.empty() ? "" : " ").append(line.substr(0, kLongestReason));
    }
  }

  void ended(const process::ExitStatus& status) {
    timer_.cancel();
    output_.drain();
    child_->signal_group(SIGKILL);
    child_->reap();
    std::string refusal;
    const bool good = status.how == process::ExitStatus::How::Exited && status.code == 0;
    if (late_)
      refusal = "it did not say within " + std::to_string(kProbeTime.count()) + " s whether it would serve";
    else if (!good || version_.empty())
      refusal =
          (good ? "it did not say whether it would serve" : explain(status)) + (said_.empty() ? "" : ": " + said_);
    auto done = std::move(done_);  // may end this
    done(refusal, version_);
  }

  Done done_;
  boost::asio::steady_timer timer_;
  process::Output output_;
  std::optional<process::Child> child_;
  std::string version_;
  std::string said_;
  bool late_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

Upgrade::Upgrade(boost::asio::any_io_executor executor, Hooks hooks)
    : executor_(std::move(executor)), hooks_(std::move(hooks)) {}
Upgrade::~Upgrade() = default;

void Upgrade::ask(std::function<void(const std::string&)> answered) {
  if (handing_over_) return answered("");
  if (const std::string obstacle = hooks_.obstacle(); !obstacle.empty()) {
    hooks_.say("no upgrade: " + obstacle, true);
    return answered(obstacle);
  }
  asked_.push_back(std::move(answered));
  if (probe_) return;
  hooks_.say("told to upgrade: looking at " + own_words().front(), false);
  probe_ = std::make_unique<Probe>(
      executor_, [this](const std::string& refusal, const std::string& version) { probed(refusal, version); });
  probe_->start(hooks_.listening());
}

void Upgrade::probed(const std::string& refusal, const std::string& version) {
  const std::string obstacle = refusal.empty() ? hooks_.obstacle() : "";  // it may have been told to end meanwhile
  const std::string why = refusal.empty() ? obstacle : own_words().front() + " is no good: " + refusal;
  if (why.empty()) {
    next_ = version;
    handing_over_ = true;
    hooks_.say("handing over from version " + std::string(config::version()) + " to version " + version, false);
  } else {
    hooks_.say("no upgrade: " + why, true);
  }
  for (auto& answered : std::exchange(asked_, {})) answered(why);
  boost::asio::post(executor_, [this, probe = std::shared_ptr<Probe>(std::move(probe_))] {
    if (handing_over_) hooks_.hand_over();
  });
}

http::UpgradeView Upgrade::view() const {
  http::UpgradeView view{.version = std::string(config::version()),
                         .pid = getpid(),
                         .state = handing_over_ ? "handing_over"
                                  : probe_      ? "checking"
                                                : "serving",
                         .life = "first",
                         .reason = {},
                         .next = next_};
  if (!init_channel()) return view;
  view.life = init_channel()->life;
  if (view.life.starts_with(kTrial))
    view.life = proved_at_ && std::chrono::steady_clock::now() >= *proved_at_ ? "upgraded" : "trial";
  if (view.life.starts_with(kBack)) view.reason = std::exchange(view.life, "back").substr(kBack.size());
  return view;
}

bool Upgrade::another_is_installed() const {
  struct stat here {};
  struct stat there {};
  return init_channel() && stat("/proc/self/exe", &here) == 0 && stat(own_words().front().c_str(), &there) == 0 &&
         (here.st_dev != there.st_dev || here.st_ino != there.st_ino);
}

void Upgrade::serving() {
  if (!init_channel()) return;
  const std::string& life = init_channel()->life;
  if (life.starts_with(kTrial)) {
    const std::chrono::milliseconds trial(std::atoll(life.c_str() + kTrial.size()));
    proved_at_ = std::chrono::steady_clock::now() + trial;
    hooks_.say("version " + std::string(config::version()) + " has taken over; if it ends within " +
                   std::to_string(trial.count() / 1000) + " s, the one before it is back",
               false);
  }
  if (life.starts_with(kBack))
    hooks_.say("the upgrade failed (" + life.substr(kBack.size()) + "): version " + std::string(config::version()) +
                   " is back",
               true);
  tell_init_ready();
}

}  // namespace bulkhead
