#include "supervisor/pool/predecessor.hpp"

#include <cerrno>
#include <fstream>
#include <optional>
#include <system_error>
#include <utility>

namespace bulkhead::pool {
namespace {

namespace fs = std::filesystem;

/// Not ".box": no child is called so.
constexpr char kMark[] = "first_run";
constexpr char kReady[] = "ever_ready";

std::optional<process::BlackBoxSnapshot> read_box(const fs::path& path) {
  try {
    if (auto box = process::BlackBoxFile::open(path)) return box->read();
  } catch (const std::system_error&) {
    // As if it were not there: then its runs count as entered, which is safe.
  }
  return std::nullopt;
}

}  // namespace

Predecessor::Predecessor(const fs::path& files) {
  if (!(std::ifstream(files / kMark) >> first_run_)) {
    first_run_ = 0;
    return;
  }
  std::error_code error;
  for (fs::directory_iterator entry(files, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() != ".box") continue;
    if (auto box = read_box(entry->path())) boxes_.emplace(entry->path().stem().string(), std::move(*box));
  }
}

bool Predecessor::never_entered(RunNumber run, std::string_view child_id) const {
  if (first_run_ == 0 || run < first_run_) return false;
  const auto box = boxes_.find(child_id);
  return box != boxes_.end() && !box->second.was_entered(run);
}

void Predecessor::mark(const fs::path& files, RunNumber first_run) {
  std::ofstream out(files / kMark);
  out << first_run << '\n';
  if (!out.flush()) throw std::system_error(errno, std::generic_category(), "write " + (files / kMark).string());
}

bool Predecessor::was_ready(const fs::path& files) {
  std::error_code not_there;
  return fs::exists(files / kReady, not_there);
}

void Predecessor::mark_ready(const fs::path& files) { std::ofstream out(files / kReady); }

}  // namespace bulkhead::pool
