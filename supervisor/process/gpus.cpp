#include "supervisor/process/gpus.hpp"

#include <algorithm>
#include <system_error>

namespace bulkhead::process {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  for (std::size_t start = 0; start <= text.size();) {
    std::size_t end = std::min(text.find(',', start), text.size());
    parts.emplace_back(trimmed(text.substr(start, end - start)));
    start = end + 1;
  }
  return parts;
}

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_device(std::string_view text) {
  if (is_digits(text)) return text.size() <= 4;
  return (text.starts_with("GPU-") || text.starts_with("MIG-")) && text.size() > 4;
}

}  // namespace

std::variant<Gpus, std::string> parse_gpus(std::string_view text) {
  text = trimmed(text);
  if (text == "none") return Gpus{Gpus::Kind::None, {}};
  if (text == "all") return Gpus{Gpus::Kind::All, {}};
  Gpus gpus{Gpus::Kind::Listed, split(text)};
  for (std::size_t i = 0; i < gpus.listed.size(); ++i) {
    const std::string& device = gpus.listed[i];
    if (!is_device(device))
      return "'" + device +
             "' is not a device: expected none, all, or a list like 0,1 (indices, or names like GPU-… and MIG-…)";
    if (std::find(gpus.listed.begin(), gpus.listed.begin() + static_cast<std::ptrdiff_t>(i), device) !=
        gpus.listed.begin() + static_cast<std::ptrdiff_t>(i))
      return "device " + device + " is named twice";
  }
  return gpus;
}

std::vector<std::string> devices_of(const Gpus& gpus, std::size_t present, std::optional<std::string_view> inherited) {
  if (gpus.kind == Gpus::Kind::Listed) return gpus.listed;
  if (gpus.kind != Gpus::Kind::All) return {};
  std::vector<std::string> devices;
  if (inherited) {
    // As CUDA reads it: the list ends at the first entry that is no device ("", "-1", "NoDevFiles").
    for (std::string& device : split(*inherited)) {
      if (!is_device(device)) break;
      devices.push_back(std::move(device));
    }
    return devices;
  }
  for (std::size_t i = 0; i < present; ++i) devices.push_back(std::to_string(i));
  return devices;
}

std::optional<std::string> visible_devices(const Gpus& gpus, const std::vector<std::string>& devices, std::size_t slot,
                                           std::size_t slots) {
  if (gpus.kind == Gpus::Kind::Untouched) return std::nullopt;
  if (devices.empty() || slots == 0) return std::string();
  if (slots >= devices.size()) return devices[slot % devices.size()];
  // The first slots get one more where they do not come out even.
  std::size_t each = devices.size() / slots, more = devices.size() % slots;
  std::size_t place = slot % slots;
  std::size_t first = place * each + std::min(place, more), count = each + (place < more ? 1 : 0);
  std::string list;
  for (std::size_t i = first; i < first + count; ++i) list += (i == first ? "" : ",") + devices[i];
  return list;
}

std::optional<std::string> sharing_remark(const Gpus& gpus, const std::vector<std::string>& devices,
                                          std::size_t slots) {
  if (gpus.kind == Gpus::Kind::Untouched || gpus.kind == Gpus::Kind::None) return std::nullopt;
  if (devices.empty())
    return "GPUs were asked for, but this machine shows none (no /dev/nvidia0): children will see no device";
  if (slots <= devices.size()) return std::nullopt;
  std::string these = devices.size() == 1 ? "1 GPU" : std::to_string(devices.size()) + " GPUs";
  return std::to_string(slots) + " workers share " + these +
         ": some of them will compete for memory on the same device";
}

std::size_t count_gpus(const std::filesystem::path& dev) {
  constexpr std::string_view kName = "nvidia";
  std::size_t count = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(dev, error)) {
    std::string name = entry.path().filename();
    if (name.starts_with(kName) && is_digits(std::string_view(name).substr(kName.size()))) ++count;
  }
  return count;
}

}  // namespace bulkhead::process
