// Handlers in Python find Bulkhead's modules without being told: children get a directory in front of their PYTHONPATH,
// and the path of the library its modules call. Nobody but children does.

#pragma once

#include <string>
#include <utility>
#include <vector>

namespace bulkhead {

using Variables = std::vector<std::pair<std::string, std::string>>;

/// Adds the variables a child of this supervisor needs for that to `environment`, which has what the operator gave to
/// children. The operator's PYTHONPATH, or the inherited one, comes behind. Adds nothing where the modules are not found.
void add_python(Variables& environment);

}  // namespace bulkhead
