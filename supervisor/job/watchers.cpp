#include "supervisor/job/watchers.hpp"

namespace bulkhead {

std::string_view to_string(EndCause cause) {
  constexpr std::string_view kNames[kEndCauses] = {"exit",    "signal",  "oom",      "timeout", "cancel",
                                                   "refresh", "recycle", "protocol", "setup",   "shutdown"};
  return kNames[static_cast<int>(cause)];
}

}  // namespace bulkhead
