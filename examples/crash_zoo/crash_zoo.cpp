// A handler that fails on request, in every way a handler can: for tests, and to see what Bulkhead makes of it.
//
// The input says what to `do`; most actions never return. `then` says how the process ends right after the result was
// handed to the library: that is when concurrency_modifier is asked.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <bulkhead/bulkhead.hpp>

using bulkhead::Job, bulkhead::Json;

namespace {

/// What outlives a job in this process, so that a clean child can be told from a used one.
struct Process {
  std::mutex mutex;
  int jobs = 0;
  std::vector<std::string> leaked;
  std::string then;  ///< how to end after the next result
};

std::int64_t number(const Json& input, std::string_view key, std::int64_t otherwise) {
  const Json* value = input.as_object().if_contains(key);
  return value == nullptr ? otherwise : value->to_number<std::int64_t>();
}

std::string text(const Json& input, std::string_view key, std::string_view otherwise) {
  const Json* value = input.as_object().if_contains(key);
  return std::string(value == nullptr ? otherwise : std::string_view(value->as_string()));
}

// The compiler must not see through any of these.
volatile int zero = 0;
volatile int* volatile nowhere = nullptr;  // volatile twice: else the compiler may leave the write out

/// A fault that is meant: sanitizers are to let it happen.
#define DELIBERATE __attribute__((no_sanitize("undefined"), no_sanitize("address")))

[[noreturn]] DELIBERATE void segfault() {
  *nowhere = 1;
  std::abort();
}

DELIBERATE int divide_by_zero() { return 1000 / zero; }

// The recursion is the point, and so is its use of the stack.
DELIBERATE int overflow_stack(int depth) {
  volatile char frame[4096];
  frame[0] = static_cast<char>(depth);
  if (zero != 0) return 0;
  return overflow_stack(depth + 1) + frame[0];
}

/// Dies at exit, when the result has been given long ago.
struct Grenade {
  bool armed = false;
  ~Grenade() {
    if (armed) segfault();
  }
};
Grenade grenade;

/// Touches every page of `megabytes`, so that they count.
std::string ballast(std::int64_t megabytes) { return std::string(static_cast<std::size_t>(megabytes) << 20, 'x'); }

[[noreturn]] void hang() {
  for (;;) pause();
}

/// Starts sleepers that left the session and have been orphaned: what a careless library leaves behind. `hidden` ones have
/// no environment by which they could be known.
Json strays(const Json& input) {
  const std::int64_t count = number(input, "count", 3);
  const auto seconds = static_cast<unsigned>(number(input, "seconds", 600));
  const bool hidden = number(input, "hidden", 0) != 0;
  std::string time = std::to_string(seconds), name = "sleep";
  char* sleeper[] = {name.data(), time.data(), nullptr};
  char* nothing[] = {nullptr};
  boost::json::array pids;
  for (std::int64_t i = 0; i < count; ++i) {
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
    const pid_t parent = fork();
    if (parent < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (parent == 0) {  // only calls that are safe after a fork of a threaded process
      setsid();
      const pid_t stray = fork();
      if (stray == 0) {
        if (hidden) execve("/bin/sleep", sleeper, nothing);
        for (unsigned left = seconds; left > 0;) left = sleep(left);
        _exit(0);
      }
      const bool told = write(pipes[1], &stray, sizeof stray) == sizeof stray;
      _exit(told ? 0 : 1);
    }
    pid_t stray = 0;
    close(pipes[1]);
    const bool told = read(pipes[0], &stray, sizeof stray) == sizeof stray;
    close(pipes[0]);
    waitpid(parent, nullptr, 0);
    if (!told) throw std::runtime_error("no stray was started");
    pids.emplace_back(stray);
  }
  return {{"strays", pids}};
}

/// Forks `count` times, or as often as it may, and ends what came of it.
Json forks(const Json& input) {
  std::vector<pid_t> made;
  while (static_cast<std::int64_t>(made.size()) < number(input, "count", 1000)) {
    const pid_t child = fork();
    if (child == 0) hang();
    if (child < 0) break;
    made.push_back(child);
  }
  for (pid_t child : made) kill(child, SIGKILL);
  for (pid_t child : made) waitpid(child, nullptr, 0);
  return {{"forks", made.size()}};
}

/// Allocates until it is killed, or until `limit_mb`.
Json eat_memory(const Json& input) {
  const std::int64_t limit = number(input, "limit_mb", 4096);
  std::vector<std::string> eaten;
  while (static_cast<std::int64_t>(eaten.size()) * 16 < limit) eaten.push_back(ballast(16));
  return {{"allocated_mb", eaten.size() * 16}};
}

Json report(Process& process) {
  boost::json::array files;
  const char* directory = std::getenv("TMPDIR");
  if (directory != nullptr)
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      files.emplace_back(entry.path().filename().string());
  const std::lock_guard lock(process.mutex);
  return {{"pid", getpid()}, {"ppid", getppid()},    {"scratch", directory == nullptr ? Json() : Json(directory)},
          {"files", files},  {"jobs", process.jobs}, {"leaked", process.leaked.size()}};
}

Json sleep_for(Job& job, std::int64_t milliseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  while (std::chrono::steady_clock::now() < end) {
    if (job.stop_token().stop_requested())
      return {{"error", "stopped"}, {"reason", static_cast<int>(job.stop_reason())}};
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min<std::int64_t>(milliseconds, 5)));
  }
  return {{"slept_ms", milliseconds}};
}

Json flood(const Json& input) {
  const std::string line(127, '~');
  const std::int64_t lines = number(input, "mb", 16) << 13;
  for (std::int64_t i = 0; i < lines; ++i) std::puts(line.c_str());
  return {{"printed_mb", lines >> 13}};
}

[[noreturn]] void throw_something(const Json& input) {
  const std::string type = text(input, "type", "runtime_error"), message = text(input, "message", "thrown on request");
  if (type == "int") throw 42;
  if (type == "string") throw message;
  if (type == "error") throw bulkhead::Error({{"code", 7}, {"message", message}}, number(input, "refresh", 0) != 0);
  if (type == "nested") {
    try {
      throw std::logic_error("the cause");
    } catch (...) {
      std::throw_with_nested(std::runtime_error(message));
    }
  }
  throw std::runtime_error(message);
}

Json free_twice() {
  char* const block = static_cast<char*>(std::malloc(64));
  char* volatile same = block;
  std::free(block);
  std::free(same);
  return "free did not notice";
}

void close_descriptors() {
  for (int descriptor = 3; descriptor < 1024; ++descriptor) close(descriptor);
}

Json scratch_file(const Json& input) {
  const char* directory = std::getenv("TMPDIR");
  const std::filesystem::path path =
      std::filesystem::path(directory == nullptr ? "/tmp" : directory) / text(input, "name", "left_behind");
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) throw std::system_error(errno, std::generic_category(), path);
  std::fputs("something\n", file);
  std::fclose(file);
  return {{"wrote", path.string()}};
}

struct Call {
  Job& job;
  const Json& input;
  Process& process;
};

using Actions = std::map<std::string, Json (*)(const Call&), std::less<>>;

/// What a process lives through.
const Actions& harmless() {
  static const Actions kTable{
      {"ok", [](const Call& call) { return call.input.as_object().contains("value") ? call.input.at("value") : "ok"; }},
      {"pid", [](const Call& call) { return report(call.process); }},
      {"trace", [](const Call& call) { return Json(call.job.traceparent()); }},
      {"scratch", [](const Call& call) { return scratch_file(call.input); }},
      {"sleep_ms", [](const Call& call) { return sleep_for(call.job, number(call.input, "ms", 1000)); }},
      {"log",
       [](const Call& call) -> Json {
         call.job.log(bulkhead::Level::Info, text(call.input, "text", "a line of log"));
         return "logged";
       }},
      {"print",
       [](const Call& call) -> Json {
         std::puts(text(call.input, "text", "a line on stdout").c_str());
         std::fprintf(stderr, "%s\n", text(call.input, "err", "a line on stderr").c_str());
         return "printed";
       }},
      {"progress",
       [](const Call& call) -> Json {
         for (std::int64_t i = 1; i <= number(call.input, "count", 3); ++i) call.job.progress({{"step", i}});
         return sleep_for(call.job, number(call.input, "ms", 0));
       }},
      {"refresh",
       [](const Call&) -> Json {
         return {{"refresh_worker", true}, {"pid", getpid()}};
       }},
      {"error",
       [](const Call& call) -> Json {
         return {{"error", text(call.input, "message", "failed on request")},
                 {"refresh_worker", number(call.input, "refresh", 0) != 0}};
       }},
      {"throw", [](const Call& call) -> Json { throw_something(call.input); }},
      {"big",
       [](const Call& call) -> Json {
         return {{"big", ballast(number(call.input, "mb", 30))}};
       }},
      {"flood", [](const Call& call) { return flood(call.input); }},
      {"leak",
       [](const Call& call) -> Json {
         const std::lock_guard lock(call.process.mutex);
         call.process.leaked.push_back(ballast(number(call.input, "mb", 64)));
         return {{"leaked", call.process.leaked.size()}};
       }},
      {"strays", [](const Call& call) { return strays(call.input); }},
      {"forks", [](const Call& call) { return forks(call.input); }},
      {"oom", [](const Call& call) { return eat_memory(call.input); }},
  };
  return kTable;
}

/// What it does not.
const Actions& deadly() {
  static const Actions kTable{
      {"segfault", [](const Call&) -> Json { segfault(); }},
      {"abort", [](const Call&) -> Json { std::abort(); }},
      {"divide", [](const Call&) -> Json { return divide_by_zero(); }},
      {"bad_free", [](const Call&) { return free_twice(); }},
      {"stack_overflow", [](const Call&) -> Json { return overflow_stack(0); }},
      {"terminate",
       [](const Call&) -> Json {
         std::thread([] { throw std::runtime_error("thrown in a thread of the handler's own"); }).join();
         return nullptr;
       }},
      {"kill",
       [](const Call& call) -> Json {
         raise(static_cast<int>(number(call.input, "signal", SIGKILL)));
         return "still here";
       }},
      {"stop",
       [](const Call&) -> Json {
         raise(SIGSTOP);
         return "continued";
       }},
      {"exit0", [](const Call&) -> Json { std::exit(0); }},
      {"exit3", [](const Call&) -> Json { std::exit(3); }},
      {"exit", [](const Call& call) -> Json { _exit(static_cast<int>(number(call.input, "code", 1))); }},
      {"hang", [](const Call&) -> Json { hang(); }},
      {"report_and_hang",
       [](const Call& call) -> Json {
         call.job.progress(Json("hanging"));
         hang();
       }},
      {"ignore_term",
       [](const Call&) -> Json {
         std::signal(SIGTERM, SIG_IGN);
         hang();
       }},
      {"spin",
       [](const Call&) -> Json {
         for (;;) zero = 0;
       }},
      {"close",
       [](const Call&) -> Json {
         close_descriptors();
         hang();
       }},
  };
  return kTable;
}

/// How the process ends once its result was given.
void end_process(const std::string& how) {
  if (how == "_exit") _exit(0);
  if (how == "kill") raise(SIGKILL);
  if (how == "segfault") segfault();
  if (how == "destructor") {
    grenade.armed = true;
    std::exit(0);
  }
  if (how == "destructor_later") grenade.armed = true;
}

Json act(Job& job, Process& process) {
  const Json& input = job.input();
  const std::string what = text(input, "do", "ok");
  for (const Actions* actions : {&harmless(), &deadly()})
    if (const auto action = actions->find(what); action != actions->end()) {
      {
        const std::lock_guard lock(process.mutex);
        process.jobs += 1;
        process.then = text(input, "then", "");
      }
      return action->second(Call{job, input, process});
    }
  throw bulkhead::Error("there is no such animal: " + what);
}

/// The ways a child's set-up can fail.
void set_up(std::string_view how) {
  if (how == "exit3") std::exit(3);
  if (how == "segfault") segfault();
  if (how == "throw") throw std::runtime_error("the model is not there");
  if (how == "hang") hang();
  if (how.starts_with("slow:")) std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(how.data() + 5)));
}

}  // namespace

int main(int argc, char** argv) {
  int concurrency = 1;
  bool refresh = false, stream = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--setup" && i + 1 < argc) set_up(argv[++i]);
    if (argument == "--concurrency" && i + 1 < argc) concurrency = std::atoi(argv[++i]);
    if (argument == "--refresh") refresh = true;
    if (argument == "--stream") stream = true;
  }
  Process process;
  bulkhead::Handler standard = [&process](Job& job) { return act(job, process); };
  // With --stream: `chunks` numbers first, then the action, whose value is the last chunk.
  bulkhead::Handler generator = [&process](Job& job) -> bulkhead::Generator<Json> {
    for (std::int64_t i = 0; i < number(job.input(), "chunks", 3); ++i) co_yield i;
    co_yield act(job, process);
  };
  return bulkhead::start({.handler = stream ? generator : standard,
                          .return_aggregate_stream = true,
                          .refresh_worker = refresh,
                          .concurrency_modifier =
                              [&](int) {
                                const std::lock_guard lock(process.mutex);
                                end_process(process.then);
                                return concurrency;
                              }},
                         argc, argv);
}
