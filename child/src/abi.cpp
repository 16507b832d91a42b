// The C functions: arguments checked, exceptions turned into statuses, everything else handed to the session.
//
// In a process forked from a child every function refuses: the connection is its parent's. There nothing is locked,
// closed or freed, since a mutex may have been held by a thread that does not exist there.

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "bulkhead/bulkhead.h"
#include "child/src/crash_handler.hpp"
#include "child/src/session.hpp"
#include "protocol/environment.hpp"

namespace {

using bulkhead::child::Body;
using bulkhead::child::Session;
namespace crash = bulkhead::child::crash;
namespace environment = bulkhead::protocol::environment;

constexpr char kVersion[] = BULKHEAD_VERSION;
constexpr std::chrono::seconds kConnectLimit{30};

/// Facts of the process, as the environment is.
std::atomic<bool> connected{false};
std::atomic<bool> was_supervised{false};
std::atomic<bool> forked{false};

/// What bh_strerror says after a BH_TOO_LARGE in this thread.
thread_local char too_large_text[96] = "";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

template <class Function>
int guarded(Function function) {
  if (forked.load(std::memory_order_relaxed)) return BH_INVALID;
  crash::guard_thread();
  try {
    return function();
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  } catch (const std::system_error& broken) {
    errno = broken.code().value();
  } catch (const std::exception&) {
    errno = EIO;
  }
  return BH_SYSTEM;
}

int note_limit(int status, std::uint64_t limit) {
  if (status == BH_TOO_LARGE) {
    std::snprintf(too_large_text, sizeof too_large_text, "larger than the %llu bytes the supervisor allows",
                  static_cast<unsigned long long>(limit));
  }
  return status;
}

void say(char* error, std::size_t size, const std::string& text) {
  if (error != nullptr && size > 0) std::snprintf(error, size, "%s", text.c_str());
}

/// The caller's options as far as its version of the struct has them.
bh_options known_part(const bh_options* options) {
  bh_options known{};
  if (options != nullptr) std::memcpy(&known, options, std::min(options->size, sizeof known));
  return known;
}

Session::Settings settings_from(const bh_options& options) {
  Session::Settings settings;
  settings.endpoint = variable(environment::kSocket);
  settings.token = variable(environment::kToken);
  settings.black_box = variable(environment::kBlackBox);
  settings.sdk = options.sdk != nullptr ? options.sdk : std::string("bulkhead-c/") + kVersion;
  settings.sdk.resize(std::min(settings.sdk.size(), bulkhead::protocol::kMaxName));
  settings.cancel_signal = options.cancel_signal;
  settings.return_on_signal = options.return_on_signal != 0;
  settings.on_stop = options.on_stop;
  settings.on_stop_user = options.on_stop_user;
  return settings;
}

/// What a handler prints should reach the supervisor line by line, not when a buffer is full.
void flush_lines_of_stdout() {
  struct stat facts {};
  if (fstat(STDOUT_FILENO, &facts) != 0 || !(S_ISFIFO(facts.st_mode) || S_ISSOCK(facts.st_mode))) return;
  std::fflush(stdout);
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
}

void disown_in_forked_children() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { forked.store(true); });
  if (registered != 0) throw std::system_error(registered, std::generic_category(), "pthread_atfork");
}

bh_child* connect(const bh_options& options) {
  if (variable(environment::kSocket).empty() || variable(environment::kToken).empty()) {
    throw std::runtime_error(std::string("this process was not started by bulkhead: ") + environment::kSocket +
                             " is not set");
  }
  disown_in_forked_children();
  std::unique_ptr<bh_child> child(new bh_child{Session(settings_from(options))});
  if (options.keep_signals == 0) crash::install(child->session.black_box().page(), variable(environment::kCrashFile));
  if (const auto why_not = child->session.await_welcome(kConnectLimit)) throw std::runtime_error(*why_not);
  flush_lines_of_stdout();
  was_supervised = true;
  unsetenv(environment::kSocket);
  unsetenv(environment::kToken);
  return child.release();
}

bool valid_text(const char* bytes, std::size_t size) { return bytes != nullptr || size == 0; }

}  // namespace

int bh_supervised(void) { return was_supervised || std::getenv(environment::kSocket) != nullptr ? 1 : 0; }

bh_child* bh_connect(const bh_options* options, char* error, size_t error_size) {
  say(error, error_size, "");
  bool nobody = false;
  if (forked) {
    say(error, error_size, "this process was forked from one that is connected");
  } else if (!connected.compare_exchange_strong(nobody, true)) {
    say(error, error_size, "this process is connected already");
  } else {
    try {
      return connect(known_part(options));
    } catch (const std::exception& broken) {
      say(error, error_size, broken.what());
    }
    connected = false;
  }
  return nullptr;
}

int bh_ready(bh_child* child, int concurrency) {
  if (child == nullptr) return BH_INVALID;
  return guarded([&] { return child->session.ready(concurrency); });
}

int bh_next(bh_child* child, int timeout_ms, bh_event* event) {
  if (child == nullptr || event == nullptr) return BH_INVALID;
  return guarded([&] { return child->session.next(timeout_ms, *event); });
}

int bh_fd(bh_child* child) {
  if (child == nullptr) return BH_INVALID;
  return guarded([&] { return child->session.fd(); });
}

const char* bh_job_id(const bh_job* job) { return job->id.c_str(); }

const char* bh_job_input(const bh_job* job, size_t* size) {
  crash::guard_thread();  // here and below: the first thing a handler's own thread asks for
  const std::string_view input = const_cast<bh_job*>(job)->input.view();
  if (size != nullptr) *size = input.size();
  return input.data();
}

const char* bh_job_extra(const bh_job* job, size_t* size) {
  if (size != nullptr) *size = job->extra.size();
  return job->extra.empty() ? "" : job->extra.data();
}

const char* bh_job_traceparent(const bh_job* job, size_t* size) {
  // The supervisor puts it first, and it has no escapes: docs/PROTOCOL.md.
  constexpr std::string_view kMember = "{\"traceparent\":\"";
  std::string_view text;
  if (job->extra.starts_with(kMember)) text = job->extra.substr(kMember.size());
  text = text.substr(0, std::min(text.find('"'), text.size()));
  if (size != nullptr) *size = text.size();
  return text.empty() ? "" : text.data();
}

const void* bh_job_checkpoint(const bh_job* job, size_t* size) {
  const std::string_view checkpoint = const_cast<bh_job*>(job)->checkpoint.view();
  if (size != nullptr) *size = job->has_checkpoint ? checkpoint.size() : 0;
  return job->has_checkpoint ? checkpoint.data() : nullptr;
}

int bh_job_attempt(const bh_job* job) { return static_cast<int>(job->attempt); }

bh_stop_reason bh_job_stopping(const bh_job* job) {
  return static_cast<bh_stop_reason>(job->stopping.load(std::memory_order_acquire));
}

void* bh_job_user(const bh_job* job) { return job->user.load(std::memory_order_acquire); }

void bh_job_set_user(bh_job* job, void* user) { job->user.store(user, std::memory_order_release); }

int bh_job_progress(bh_job* job, const char* json, size_t size) {
  if (job == nullptr || json == nullptr || size == 0) return BH_INVALID;
  return guarded([&] { return note_limit(job->session->progress(*job, {json, size}), job->session->max_body()); });
}

int bh_job_log(bh_job* job, bh_level level, const char* text, size_t size) {
  if (job == nullptr || !valid_text(text, size) || level < BH_TRACE || level > BH_ERROR) return BH_INVALID;
  return guarded([&] { return job->session->log(job, static_cast<bulkhead::protocol::Level>(level), {text, size}); });
}

int bh_log(bh_child* child, bh_level level, const char* text, size_t size) {
  if (child == nullptr || !valid_text(text, size) || level < BH_TRACE || level > BH_ERROR) return BH_INVALID;
  return guarded([&] {
    return child->session.log(nullptr, static_cast<bulkhead::protocol::Level>(level), {text, size});
  });
}

int bh_job_chunk(bh_job* job, const char* json, size_t size, int timeout_ms) {
  if (job == nullptr || json == nullptr || size == 0) return BH_INVALID;
  return guarded([&] {
    return note_limit(job->session->chunk(*job, {json, size}, timeout_ms), job->session->max_chunk());
  });
}

int bh_job_checkpoint_saved(bh_job* job) {
  if (job == nullptr) return BH_INVALID;
  return guarded([&] { return job->session->checkpoint_saved(*job); });
}

int bh_job_save_checkpoint(bh_job* job, const void* data, size_t size, int timeout_ms) {
  if (job == nullptr || !valid_text(static_cast<const char*>(data), size)) return BH_INVALID;
  const std::string_view bytes(static_cast<const char*>(data), size);
  return guarded([&] {
    return note_limit(job->session->save_checkpoint(*job, bytes, timeout_ms), job->session->max_checkpoint());
  });
}

/// Gives what `make` makes, unless `largest`, the size of its largest text, is above the limit.
template <class Make>
static int give_result(bh_job* job, size_t largest, Make make) {
  return guarded([&] {
    std::fflush(stdout);  // what the job printed leaves before its result does
    const std::uint64_t most = job->session->max_body();
    return note_limit(largest > most ? int{BH_TOO_LARGE} : job->session->finish(*job, make()), most);
  });
}

int bh_job_done(bh_job* job, const char* output, size_t size, int flags) {
  if (job == nullptr || !valid_text(output, size) || (flags & ~BH_REFRESH_WORKER) != 0) return BH_INVALID;
  return give_result(job, size, [&] {
    return Session::Result{false, (flags & BH_REFRESH_WORKER) != 0, Body({output, size}), {}};
  });
}

int bh_job_done_owned(bh_job* job, const char* output, size_t size, int flags, void (*release)(void* user),
                      void* user) {
  if (release == nullptr) return BH_INVALID;
  bool taken = false;
  int status = BH_INVALID;
  if (job != nullptr && valid_text(output, size) && (flags & ~BH_REFRESH_WORKER) == 0) {
    status = give_result(job, size, [&] {
      taken = true;
      return Session::Result{false, (flags & BH_REFRESH_WORKER) != 0, Body({output, size}, release, user), {}};
    });
  }
  if (!taken) release(user);
  return status;
}

int bh_job_failed(bh_job* job, const char* error, size_t error_size, const char* output, size_t output_size,
                  int flags) {
  if (job == nullptr || error == nullptr || error_size == 0 || !valid_text(output, output_size)) return BH_INVALID;
  if ((flags & ~BH_REFRESH_WORKER) != 0) return BH_INVALID;
  return give_result(job, std::max(error_size, output_size), [&] {
    return Session::Result{true, (flags & BH_REFRESH_WORKER) != 0, Body({output, output_size}),
                           Body({error, error_size})};
  });
}

int bh_close(bh_child* child, int timeout_ms) {
  if (child == nullptr) return BH_INVALID;
  return guarded([&] {
    const std::unique_ptr<bh_child> owned(child);
    std::fflush(stdout);
    const int status = owned->session.close(timeout_ms);
    connected = false;
    return status;
  });
}

const char* bh_strerror(int status) {
  switch (status) {
    case BH_OK: return "no error";
    case BH_AGAIN: return "nothing now: the time passed, or there is no credit yet";
    case BH_LOST: return "the supervisor is gone, or has refused this child";
    case BH_CANCELLED: return "the run was cancelled";
    case BH_TOO_LARGE: return too_large_text[0] != '\0' ? too_large_text : "larger than the supervisor allows";
    case BH_INVALID: return "a wrong argument, or a call that does not fit the state";
    case BH_SYSTEM: return "the system refused something; errno says what";
    default: return "unknown status";
  }
}

const char* bh_version(void) { return kVersion; }
