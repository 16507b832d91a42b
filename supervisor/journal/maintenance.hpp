// A journal looked at from outside, while its supervisor runs or when there is none: what is in it, whether it is whole, a
// copy of it. Nothing here changes it. All throw std::system_error with a text for the operator.

#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace bulkhead::journal {

/// One JSON object over several lines: format version, bytes, jobs by state, ages, what hangs on them. Times are
/// wall-clock milliseconds since the epoch; `now_ms` is what ages are counted from.
std::string inspect(const std::filesystem::path& file, std::int64_t now_ms);

/// The version of its format; 0: there is no journal yet. Throws Fault::TooNew where this program does not know that.
int format_version(const std::filesystem::path& file);
/// The newest format that this program knows, and so the one it makes of an older journal.
int newest_format();

/// What is wrong with it: SQLite's integrity check, and the invariants of docs/JOURNAL.md. Empty: it is whole. At most
/// kMostFaults.
std::vector<std::string> verify(const std::filesystem::path& file);
inline constexpr std::size_t kMostFaults = 100;

/// A copy as of one moment, consistent and without a log beside it. `target` must not exist; it gets mode 0600.
void back_up_to(const std::filesystem::path& file, const std::filesystem::path& target);

}  // namespace bulkhead::journal
