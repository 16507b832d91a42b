// A Python that does not see Bulkhead's modules runs RunPod's own worker, or none: told apart from a slow set-up. Pure.
//
// Children find the modules by PYTHONPATH. -I and -E ignore it, a cleared environment does not have it, a frozen program
// brings modules of its own. The first lines of such a child say so.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bulkhead::pool {

/// What a line that a child printed before its hello says about it.
enum class Sign {
  None,
  NoModule,     ///< `import runpod` or `import bulkhead` found nothing
  OtherWorker,  ///< RunPod's own worker has started: it will take no job of ours, but perhaps somebody else's
};
Sign sign_of(std::string_view line);

/// The flag by which the Python of `command` ignores PYTHONPATH ("-I", "-sE"); empty where there is none.
std::string ignoring_flag(const std::vector<std::string>& command);

/// What to do about it, for a person. `environment` is what children are given.
std::string advice(const std::vector<std::string>& command,
                   const std::vector<std::pair<std::string, std::string>>& environment);

}  // namespace bulkhead::pool
