#include "supervisor/own_stack.hpp"

#include <execinfo.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace bulkhead {
namespace {

constexpr int kFrames = 64;
constexpr int kSeconds = 5;  // for writing, should standard error be stuck
alignas(16) char alternate_stack[64 * 1024];

void say(const char* text) {
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

extern "C" void write_stack(int number) {
  // Should this fault, or hang, the process ends all the same.
  std::signal(number, SIG_DFL);
  std::signal(SIGALRM, SIG_DFL);
  alarm(kSeconds);
  say("bulkhead: the supervisor was ended by SIG");
  say(sigabbrev_np(number));
  say("; its stack:\n");
  void* frames[kFrames];
  backtrace_symbols_fd(frames, backtrace(frames, kFrames), STDERR_FILENO);
  raise(number);
}

}  // namespace

std::string own_stack() {
  void* frames[kFrames];
  int count = backtrace(frames, kFrames);
  std::unique_ptr<char*, decltype(&std::free)> lines(backtrace_symbols(frames, count), std::free);
  std::string text;
  for (int i = 1; lines && i < count; ++i) (text += "\n  ") += lines.get()[i];
  return text;
}

void write_stack_at_crash() {
  void* frame;
  backtrace(&frame, 1);  // loads what it needs now: not in a handler
  stack_t stack{};
  sigaltstack(nullptr, &stack);
  if ((stack.ss_flags & SS_DISABLE) != 0) {  // a sanitizer brings its own
    stack = {};
    stack.ss_sp = alternate_stack;
    stack.ss_size = sizeof alternate_stack;
    sigaltstack(&stack, nullptr);
  }
  for (int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    struct sigaction action {};
    sigaction(signal, nullptr, &action);
    if ((action.sa_flags & SA_SIGINFO) != 0 || action.sa_handler != SIG_DFL) continue;
    action = {};
    action.sa_handler = write_stack;
    action.sa_flags = SA_ONSTACK | SA_NODEFER;
    sigaction(signal, &action, nullptr);
  }
}

}  // namespace bulkhead
