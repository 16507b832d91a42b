// Which devices a slot has to itself. Decided purely; only count_gpus looks at the system.

#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bulkhead::process {

/// The value of --gpus.
struct Gpus {
  enum class Kind : unsigned char {
    Untouched,  ///< not asked for: children see what the supervisor sees
    None,       ///< children see no device
    All,        ///< all there are
    Listed
  };
  Kind kind = Kind::Untouched;
  std::vector<std::string> listed;  ///< indices, or names ("GPU-…", "MIG-…") as CUDA_VISIBLE_DEVICES takes them
};

/// "none", "all", "0,1,GPU-5fd3…"; the text of what is wrong otherwise. A device named twice is an error.
std::variant<Gpus, std::string> parse_gpus(std::string_view text);

/// The devices to share out: the listed ones; for `All` those in `inherited` (the supervisor's own
/// CUDA_VISIBLE_DEVICES, if it has one), else 0 … `present`-1.
std::vector<std::string> devices_of(const Gpus& gpus, std::size_t present, std::optional<std::string_view> inherited);

/// CUDA_VISIBLE_DEVICES of one slot of `slots`, or empty where it is not to be set. Devices are dealt out in runs, as
/// evenly as they go; with more slots than devices, slots share (slot modulo devices).
std::optional<std::string> visible_devices(const Gpus& gpus, const std::vector<std::string>& devices, std::size_t slot,
                                           std::size_t slots);

/// The sentence to say at start: slots that must share a device, or that devices were asked for and none are there.
std::optional<std::string> sharing_remark(const Gpus& gpus, const std::vector<std::string>& devices, std::size_t slots);

/// The number of /dev/nvidia0, /dev/nvidia1, … `dev` is for tests.
std::size_t count_gpus(const std::filesystem::path& dev = "/dev");

}  // namespace bulkhead::process
