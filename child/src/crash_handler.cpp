// Everything a handler touches is in one static State, filled before the first handler is installed. Between a signal
// and the end only async-signal-safe calls are made, and the unwinder, which is not promised to be safe but is warmed up
// beforehand and may fault: a jump brings the handler back to what it has left to write.

#include "child/src/crash_handler.hpp"

#include <cxxabi.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <exception>
#include <string_view>
#include <system_error>
#include <typeinfo>
#include <utility>

#include "protocol/crash_file.hpp"

namespace bulkhead::child::crash {
namespace {

namespace format = protocol::crash_file;

constexpr std::array kFatal{SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
constexpr unsigned kHangSeconds = 5;
constexpr std::size_t kStackSize = 64 * 1024;
constexpr std::size_t kLeastStack = 32 * 1024;

struct State {
  std::atomic<protocol::BlackBox*> page{nullptr};
  std::atomic<int> file{-1};
  std::atomic<int> maps{-1};  ///< opened early: at a crash, descriptors may have run out
  std::atomic<pid_t> owner{0};
  std::atomic<pid_t> crashing_thread{0};
  std::atomic<int> crash_signal{0};
  std::atomic<bool> unwinding{false};
  sigjmp_buf after_unwinding;
  struct sigaction before[NSIG];
  std::terminate_handler terminate_before = nullptr;
};
State state;

pid_t thread_id() { return static_cast<pid_t>(syscall(SYS_gettid)); }

/// A line of text, put together without memory and written with one call.
class Line {
 public:
  explicit Line(const char* keyword) { text(keyword); }
  Line& text(std::string_view words) {
    for (const char c : words) {
      if (size_ < sizeof line_ - 1) line_[size_++] = c;
    }
    return *this;
  }
  /// As text, but on one line.
  Line& quoted(std::string_view words) {
    for (const char c : words) text(std::string_view(c == '\n' || c == '\r' || c == '\0' ? " " : &c, 1));
    return *this;
  }
  Line& number(long value) {
    char digits[24];
    char* at = digits + sizeof digits;
    unsigned long rest = value < 0 ? 0ul - static_cast<unsigned long>(value) : static_cast<unsigned long>(value);
    do *--at = static_cast<char>('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0) *--at = '-';
    return text({at, static_cast<std::size_t>(digits + sizeof digits - at)});
  }
  // Not inlined: beside sigsetjmp, GCC would warn of its loop variable.
  __attribute__((noinline)) Line& address(std::uintptr_t value) {
    char digits[20];
    char* at = digits + sizeof digits;
    do *--at = "0123456789abcdef"[value & 15];
    while ((value >>= 4) != 0);
    return text("0x").text({at, static_cast<std::size_t>(digits + sizeof digits - at)});
  }
  void write_to(int fd) {
    line_[size_++] = '\n';
    write_all(fd, line_, size_);
  }

  static void write_all(int fd, const char* bytes, std::size_t size) {
    while (size > 0) {
      const ssize_t written = write(fd, bytes, size);
      if (written < 0 && errno != EINTR) return;
      if (written <= 0) continue;
      bytes += written;
      size -= static_cast<std::size_t>(written);
    }
  }

 private:
  char line_[512];
  std::size_t size_ = 0;
};

struct Place {
  std::uintptr_t ip = 0;
  std::uintptr_t sp = 0;
};

Place struck_at(const void* context) {
  const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return {static_cast<std::uintptr_t>(machine.gregs[REG_RIP]), static_cast<std::uintptr_t>(machine.gregs[REG_RSP])};
#elif defined(__aarch64__)
  return {static_cast<std::uintptr_t>(machine.pc), static_cast<std::uintptr_t>(machine.sp)};
#else
#error "teach this function where the machine keeps its instruction pointer"
#endif
}

/// Follows the stack from the handler outwards; what lies before the place that was struck is the handler's own.
struct Walk {
  int fd;
  std::uintptr_t from;
  bool reached = false;
  std::size_t written = 0;
};

_Unwind_Reason_Code visit_frame(_Unwind_Context* context, void* argument) {
  auto& walk = *static_cast<Walk*>(argument);
  int before_instruction = 0;
  const std::uintptr_t ip = _Unwind_GetIPInfo(context, &before_instruction);
  if (ip == 0) return _URC_END_OF_STACK;
  if (!walk.reached) {
    walk.reached = ip == walk.from;  // written by the caller already
    return _URC_NO_REASON;
  }
  if (walk.written == format::kMaxFrames) {
    Line(format::kCut).text(" too many frames").write_to(walk.fd);
    return _URC_END_OF_STACK;
  }
  ++walk.written;
  if (walk.fd >= 0) Line(format::kFrame).text(" ").address(ip).write_to(walk.fd);
  return _URC_NO_REASON;
}

void write_stack(int fd, std::uintptr_t ip) {
  Line(format::kFrame).text(" ").address(ip).write_to(fd);
  Walk walk{fd, ip};
  if (sigsetjmp(state.after_unwinding, 1) == 0) {
    state.unwinding = true;
    _Unwind_Backtrace(&visit_frame, &walk);
    state.unwinding = false;
    if (!walk.reached) Line(format::kCut).text(" the stack leads nowhere").write_to(fd);
  } else {
    Line(format::kCut).text(" unwinding faulted").write_to(fd);
  }
}

void write_maps(int fd) {
  Line(format::kMaps).write_to(fd);
  const int maps = state.maps;
  if (maps < 0) return;
  char bytes[4096];
  for (;;) {
    const ssize_t count = read(maps, bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    Line::write_all(fd, bytes, static_cast<std::size_t>(count));
  }
}

void write_record(int fd, int signal, const siginfo_t& info, const void* context) {
  const Place place = struck_at(context);
  const bool sent = info.si_code <= 0;
  Line(format::kSignal)
      .text(" ")
      .number(signal)
      .text(" code ")
      .number(info.si_code)
      .text(" addr ")
      .address(sent ? 0 : reinterpret_cast<std::uintptr_t>(info.si_addr))
      .text(" tid ")
      .number(thread_id())
      .text(" ip ")
      .address(place.ip)
      .text(" sp ")
      .address(place.sp)
      .write_to(fd);
  if (sent) Line(format::kSender).text(" ").number(info.si_pid).write_to(fd);
  char name[17] = "";
  prctl(PR_GET_NAME, name);
  Line(format::kThread).text(" ").quoted(name).write_to(fd);
  write_stack(fd, place.ip);
  write_maps(fd);
  Line(format::kEnd).write_to(fd);
}

void unblock(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

/// Ends the process by this signal, if the handler's return does not.
void die_of(int signal) {
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  sigaction(signal, &plain, nullptr);
  syscall(SYS_tgkill, getpid(), thread_id(), signal);
}

/// The handler has hung. Whatever thread this is, the process ends by the signal that struck.
void on_hang(int) {
  const int signal = state.crash_signal;
  die_of(signal);
  unblock(signal);
}

void limit_time() {
  struct sigaction hang {};
  hang.sa_handler = &on_hang;
  sigaction(SIGALRM, &hang, nullptr);
  unblock(SIGALRM);
  alarm(kHangSeconds);
}

void hand_on(int signal, siginfo_t* info, void* context) {
  const struct sigaction& before = state.before[signal];
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  }
  // A handler that returned has not dealt with it; one that put its own in place of ours is not asked again.
  die_of(signal);
}

void on_fatal(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  if (getpid() != state.owner) return hand_on(signal, info, context);
  const pid_t self = thread_id();
  pid_t nobody = 0;
  if (!state.crashing_thread.compare_exchange_strong(nobody, self)) {
    if (nobody == self) {
      if (state.unwinding.exchange(false)) siglongjmp(state.after_unwinding, 1);
      return die_of(signal);
    }
    // Another thread is dying: it takes the process with it.
    for (;;) pause();
  }
  state.crash_signal = signal;
  limit_time();
  if (auto* page = state.page.load()) {
    page->crash_signal.store(static_cast<std::uint32_t>(signal), std::memory_order_relaxed);
    page->phase.store(protocol::BlackBox::Phase::Crashing, std::memory_order_release);
  }
  if (const int fd = state.file; fd >= 0) write_record(fd, signal, *info, context);
  errno = error;
  hand_on(signal, info, context);
}

/// One thread after the other writes, for there is one file: `turn` says whose it is, `done` who has been.
std::atomic<pid_t> turn{0};
std::atomic<pid_t> done{0};
std::atomic<bool> taking_stacks{false};

void write_thread(int fd, const void* context) {
  Line(format::kStall).text(" ").number(thread_id()).write_to(fd);
  char name[17] = "";
  prctl(PR_GET_NAME, name);
  Line(format::kThread).text(" ").quoted(name).write_to(fd);
  const std::uintptr_t ip = struck_at(context).ip;
  Line(format::kFrame).text(" ").address(ip).write_to(fd);
  Walk walk{fd, ip};
  _Unwind_Backtrace(&visit_frame, &walk);
}

void on_one_stack(int, siginfo_t*, void* context) {
  const int error = errno;
  const pid_t self = thread_id();
  pid_t mine = self;
  if (turn.compare_exchange_strong(mine, 0)) {
    write_thread(state.file, context);
    done = self;
  }
  errno = error;
}

/// Has another thread write its stack; one that takes no signals is left out after a moment.
void ask_thread(pid_t thread) {
  done = 0;
  turn = thread;
  syscall(SYS_tgkill, getpid(), thread, format::one_stack_signal());
  constexpr timespec kMoment{0, 1'000'000};
  for (int waited = 0; waited < 200 && done != thread; ++waited) {
    nanosleep(&kMoment, nullptr);
    pid_t unanswered = thread;
    if (waited == 100 && turn.compare_exchange_strong(unanswered, 0)) return;
  }
}

/// Calls `visit` with the number of every thread of this process, without memory.
template <class Visit>
void each_thread(Visit visit) {
  const int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (tasks < 0) return;
  alignas(8) char entries[4096];
  for (long size; (size = syscall(SYS_getdents64, tasks, entries, sizeof entries)) > 0;) {
    for (long at = 0; at < size;) {
      const char* entry = entries + at;
      unsigned short length = 0;
      std::memcpy(&length, entry + 16, sizeof length);  // d_reclen, behind d_ino and d_off
      pid_t number = 0;
      for (const char* c = entry + 19; *c >= '0' && *c <= '9'; ++c) number = number * 10 + (*c - '0');
      if (number > 0) visit(number);
      at += length;
    }
  }
  close(tasks);
}

void on_stacks(int, siginfo_t*, void* context) {
  const int error = errno;
  if (getpid() == state.owner && state.file >= 0 && !taking_stacks.exchange(true)) {
    const pid_t self = thread_id();
    write_thread(state.file, context);
    std::size_t count = 1;
    each_thread([&](pid_t thread) {
      if (thread != self && count++ < format::kMaxThreads) ask_thread(thread);
    });
    Line(format::kStalled).write_to(state.file);
    lseek(state.maps, 0, SEEK_SET);
    write_maps(state.file);
    lseek(state.maps, 0, SEEK_SET);
    Line(format::kEnd).write_to(state.file);
    taking_stacks = false;
  }
  errno = error;
}

/// Unless somebody has a use of his own for these signals.
void answer_for_stacks() {
  for (auto [number, handler] :
       {std::pair{format::stacks_signal(), &on_stacks}, {format::one_stack_signal(), &on_one_stack}}) {
    struct sigaction before {};
    sigaction(number, nullptr, &before);
    if ((before.sa_flags & SA_SIGINFO) != 0 || before.sa_handler != SIG_DFL) continue;
    struct sigaction ours {};
    ours.sa_sigaction = handler;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&ours.sa_mask);
    sigaction(number, &ours, nullptr);
  }
}

void on_terminate() {
  const int fd = state.file;
  if (fd >= 0 && getpid() == state.owner) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    Line line(format::kTerminate);
    line.text(" ").quoted(type != nullptr ? type->name() : "-").text(": ");
    if (type != nullptr) {
      try {
        std::rethrow_exception(std::current_exception());
      } catch (const std::exception& thrown) {
        line.quoted(thrown.what());
      } catch (...) {
        // Its type says what there is to say.
      }
    }
    line.write_to(fd);
  }
  if (state.terminate_before != nullptr) state.terminate_before();
  std::abort();
}

int replace(std::atomic<int>& descriptor, int fd) {
  const int old = descriptor.exchange(fd);
  if (old >= 0) close(old);
  return fd;
}

void catch_signals() {
  struct sigaction ours {};
  ours.sa_sigaction = &on_fatal;
  // Not masked while it runs: a second fault must come back here, not end the process half told.
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&ours.sa_mask);
  for (const int signal : kFatal) {
    struct sigaction before {};
    sigaction(signal, nullptr, &before);
    if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction == &on_fatal) continue;
    state.before[signal] = before;
    sigaction(signal, &ours, nullptr);
  }
  if (std::get_terminate() != &on_terminate) state.terminate_before = std::set_terminate(&on_terminate);
}

/// An alternate stack with a page below it that must not be touched; goes with its thread.
class AlternateStack {
 public:
  AlternateStack() = default;
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;
  ~AlternateStack() {
    if (memory_ == nullptr) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    stack_t current{};
    if (sigaltstack(nullptr, &current) != 0 || current.ss_sp != memory_ + guard_) return;
    if (sigaltstack(&none, nullptr) == 0) munmap(memory_, guard_ + kStackSize);
  }

  void ensure() {
    if (looked_) return;
    looked_ = true;
    stack_t current{};
    // Somebody else's will do if it is not too small for the unwinder: Python's has 16 KiB.
    if (sigaltstack(nullptr, &current) == 0 && (current.ss_flags & SS_DISABLE) == 0 && current.ss_size >= kLeastStack)
      return;
    guard_ = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* memory = mmap(nullptr, guard_ + kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;  // then a stack overflow goes untold
    memory_ = static_cast<char*>(memory);
    mprotect(memory_, guard_, PROT_NONE);
    stack_t stack{};
    stack.ss_sp = memory_ + guard_;
    stack.ss_size = kStackSize;
    sigaltstack(&stack, nullptr);
  }

 private:
  bool looked_ = false;
  char* memory_ = nullptr;
  std::size_t guard_ = 0;
};

}  // namespace

void install(protocol::BlackBox* page, const std::string& file) {
  if (!file.empty()) {
    const int fd = open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "opening the crash file " + file);
    replace(state.file, fd);
    replace(state.maps, open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
  }
  state.page = page;
  state.owner = getpid();
  // The unwinder's first walk may load and allocate; the one that counts must not.
  Walk rehearsal{-1, 0};
  _Unwind_Backtrace(&visit_frame, &rehearsal);
  catch_signals();
  if (!file.empty()) answer_for_stacks();
  guard_thread();
}

void guard_thread() {
  thread_local AlternateStack stack;
  stack.ensure();
}

}  // namespace bulkhead::child::crash
