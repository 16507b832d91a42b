// Each stack is a Reading: one program, its output, its timer. The Symboliser owns the Readings; a Reading ends when
// its program has ended, which may be after its answer was given: a program that waits in the kernel (a dead network
// file system) outlives its deadline, and counts against kAtOnce until it is gone.
//
// The program gets the stack as text on stdin (a memfd) and answers with lines "INDEX\ttext", any number per frame.

#include "supervisor/process/symbolise.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <charconv>
#include <filesystem>
#include <list>
#include <map>
#include <optional>
#include <utility>

#include "supervisor/process/descriptor.hpp"
#include "supervisor/process/launch.hpp"
#include "supervisor/process/output.hpp"

namespace bulkhead::process {
namespace {

constexpr char kProgram[] = "bulkhead-symbolise";

std::optional<Descriptor> as_file(const std::string& text) {
  Descriptor file(::memfd_create("crash", MFD_CLOEXEC));
  if (!file) return std::nullopt;
  for (std::size_t written = 0; written < text.size();) {
    ssize_t count = ::write(file.get(), text.data() + written, text.size() - written);
    if (count <= 0) return std::nullopt;
    written += static_cast<std::size_t>(count);
  }
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

SpawnPlan plan_for(const std::string& program, int text, const Output& output) {
  SpawnPlan plan;
  plan.argv = {program};
  // Neither a download of debug information, nor what somebody set for their handlers.
  plan.environment_removed = {"DEBUGINFOD_URLS", "LD_PRELOAD"};
  plan.stdin_fd = text;
  plan.stdout_fd = output.stdout_fd();
  plan.nice = 5;
  plan.oom_score_adj = 1000;
  plan.limits = {{RLIMIT_CORE, {0, 0}}};
  return plan;
}

class Reading {
 public:
  Reading(asio::any_io_executor executor, const CrashFile& crash, Symboliser::StackHandler handler)
      : plain_(plain_stack(crash)),
        frames_(crash.frames.size()),
        handler_(std::move(handler)),
        timer_(executor),
        output_(executor, [this](Stream, std::string_view line) { take(line); }) {}

  /// `done` is called when the program has ended. False: it could not be started, and nothing will be called.
  bool start(const std::string& program, const CrashFile& crash, std::chrono::milliseconds deadline,
             std::function<void()> done) {
    auto text = as_file(to_text(crash));
    if (!text) return false;
    LaunchResult result = launch(timer_.get_executor(), plan_for(program, text->get(), output_));
    output_.start();
    if (!std::holds_alternative<Child>(result)) return false;
    child_.emplace(std::move(std::get<Child>(result)));
    child_->async_wait([this, done = std::move(done)](const ExitStatus&) {
      answer();
      child_->signal_group(SIGKILL);
      child_->reap();
      done();  // ends this
    });
    timer_.expires_after(deadline);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      child_->signal(SIGKILL);
      answer();
    });
    return true;
  }

 private:
  void take(std::string_view line) {
    std::size_t frame = 0;
    auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), frame);
    if (error != std::errc{} || end == line.data() + line.size() || *end != '\t' || frame >= frames_) return;
    named_[frame].emplace_back(end + 1, line.data() + line.size());
  }

  void answer() {
    timer_.cancel();
    if (!handler_) return;
    output_.drain();
    std::vector<std::string> stack;
    for (std::size_t frame = 0; frame < plain_.size(); ++frame) {
      auto named = named_.find(frame);
      if (named == named_.end()) {
        stack.push_back(plain_[frame]);
      } else {
        for (std::string& line : named->second) stack.push_back(std::move(line));
      }
    }
    if (stack.size() > Symboliser::kMaxLines) stack.resize(Symboliser::kMaxLines);
    std::exchange(handler_, nullptr)(std::move(stack));
  }

  std::vector<std::string> plain_;  // one a frame, and what may follow
  std::size_t frames_;
  std::map<std::size_t, std::vector<std::string>> named_;
  Symboliser::StackHandler handler_;
  asio::steady_timer timer_;
  Output output_;
  std::optional<Child> child_;
};

}  // namespace

struct Symboliser::State : std::enable_shared_from_this<Symboliser::State> {
  State(asio::any_io_executor on, std::string which) : executor(std::move(on)), program(std::move(which)) {}

  /// The handler, called by the loop and not where the answer is found: it may end the Symboliser.
  StackHandler later(StackHandler handler) {
    return [weak = weak_from_this(), on = executor, handler = std::move(handler)](std::vector<std::string> stack) {
      asio::post(on, [weak, handler, stack = std::move(stack)]() mutable {
        if (!weak.expired()) handler(std::move(stack));
      });
    };
  }

  void symbolise(const CrashFile& crash, std::chrono::milliseconds deadline, StackHandler handler) {
    handler = later(std::move(handler));
    if (program.empty() || crash.frames.empty() || readings.size() >= static_cast<std::size_t>(kAtOnce))
      return handler(plain_stack(crash));
    auto place = readings.emplace(readings.end(), executor, crash, handler);
    if (place->start(program, crash, deadline, [this, place] { readings.erase(place); })) return;
    readings.erase(place);
    handler(plain_stack(crash));
  }

  const asio::any_io_executor executor;
  const std::string program;
  std::list<Reading> readings;
};

Symboliser::Symboliser(asio::any_io_executor executor, std::string program)
    : state_(std::make_shared<State>(std::move(executor), std::move(program))) {}
Symboliser::~Symboliser() = default;

void Symboliser::symbolise(const CrashFile& crash, std::chrono::milliseconds deadline, StackHandler handler) {
  state_->symbolise(crash, deadline, std::move(handler));
}

std::string find_symboliser() {
  std::error_code error;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const std::filesystem::path& place :
       {self / kProgram, self / "process" / kProgram, self.parent_path() / "libexec" / "bulkhead" / kProgram,
        std::filesystem::path(BULKHEAD_LIBEXEC_DIR) / kProgram})
    if (::access(place.c_str(), X_OK) == 0) return place.string();
  return {};
}

}  // namespace bulkhead::process
