// `bulkhead doctor`: looks at the machine, and says for each thing that Bulkhead stands on whether it works here, what it
// costs that it does not, and what to do.

#pragma once

#include <string>
#include <vector>

namespace bulkhead::doctor {

struct Request {
  std::string state_dir;
  std::vector<std::string> listen;
  bool json = false;
};

/// Prints what it finds to standard output. 0, or 1 where something is broken: Bulkhead does not run like this.
int examine(const Request& request);
}  // namespace bulkhead::doctor
