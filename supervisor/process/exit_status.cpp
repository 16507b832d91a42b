#include "supervisor/process/exit_status.hpp"

#include <csignal>
#include <cstring>

namespace bulkhead::process {

std::string signal_name(int signal) {
  if (const char* name = ::sigabbrev_np(signal)) return std::string("SIG") + name;
  if (signal >= SIGRTMIN && signal <= SIGRTMAX) return "SIGRTMIN+" + std::to_string(signal - SIGRTMIN);
  return "signal " + std::to_string(signal);
}

std::string ExitStatus::describe() const {
  switch (how) {
    case How::Exited: return "exited with code " + std::to_string(code);
    case How::Killed: return "was killed by " + signal_name(signal) + (core_dumped ? " (core dumped)" : "");
    case How::Unknown: break;
  }
  return "ended in a way that nobody saw";
}

}  // namespace bulkhead::process
