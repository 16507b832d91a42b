#include "supervisor/python_handlers.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <system_error>

namespace bulkhead {
namespace {

namespace fs = std::filesystem;

/// The first of these that is there, or nothing.
fs::path first_of(std::initializer_list<fs::path> places) {
  std::error_code error;
  for (const fs::path& place : places)
    if (fs::exists(place, error)) return place.lexically_normal();
  return {};
}

}  // namespace

void add_python(Variables& environment) {
  // In a build, in an installation wherever it was moved to, and where it was to be installed.
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error).parent_path();
  const fs::path root = self.parent_path();
  const fs::path modules =
      first_of({root / "child" / "python", root / "lib" / "bulkhead" / "python", BULKHEAD_PYTHON_DIR});
  const fs::path library =
      first_of({root / "child" / BULKHEAD_SONAME, root / BULKHEAD_LIBDIR / BULKHEAD_SONAME,
                root / "lib" / BULKHEAD_SONAME, fs::path(BULKHEAD_PREFIX) / BULKHEAD_LIBDIR / BULKHEAD_SONAME});
  if (modules.empty() || library.empty()) return;

  const char* inherited = std::getenv("PYTHONPATH");
  std::string others = inherited != nullptr ? inherited : "";
  for (const auto& [name, value] : environment)
    if (name == "PYTHONPATH") others = value;
  std::erase_if(environment, [](const auto& variable) { return variable.first == "PYTHONPATH"; });
  environment.emplace_back("PYTHONPATH", others.empty() ? modules.string() : modules.string() + ":" + others);
  environment.emplace_back("BULKHEAD_LIBRARY", library.string());
}

}  // namespace bulkhead
