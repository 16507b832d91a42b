#include "supervisor/pool/child_record.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <system_error>

#include "supervisor/process/descriptor.hpp"

namespace bulkhead::pool {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".child";
constexpr std::size_t kTokenSize = 32;

fs::path path_of(std::string_view id, const fs::path& files) {
  return files / (std::string(id) + std::string(kExtension));
}

int number_from(std::string_view text, std::size_t at) {
  int number = -1;
  if (at < text.size()) std::from_chars(text.data() + at, text.data() + text.size(), number);
  return number;
}

std::optional<ChildRecord> read(const fs::path& path) {
  ChildRecord record;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    if (name == "id") words >> record.id;
    if (name == "pid") words >> record.process.pid;
    if (name == "start") words >> record.process.start_time;
    if (name == "boot") words >> record.process.boot_id;
    if (name == "token") words >> record.token;
    if (name == "cookie") words >> record.cookie;
    if (name == "scratch") words >> record.scratch;
    if (name == "first_run") words >> record.first_run;
    if (name == "command") words >> record.command;
  }
  const bool whole = record.token.size() == kTokenSize && record.process.pid > 1 && record.place() >= 0 &&
                     record.generation() > 0 && path.stem() == record.id;
  if (!whole) return std::nullopt;
  return record;
}

}  // namespace

int ChildRecord::place() const { return id.starts_with('w') ? number_from(id, 1) : -1; }

int ChildRecord::generation() const {
  const std::size_t dot = id.find('.');
  return dot == std::string::npos ? -1 : number_from(id, dot + 1);
}

void write(const ChildRecord& record, const fs::path& files) {
  std::ostringstream out;
  out << "id " << record.id << "\npid " << record.process.pid << "\nstart " << record.process.start_time << "\nboot "
      << record.process.boot_id << "\ntoken " << record.token << "\ncookie " << record.cookie << "\nscratch "
      << record.scratch << "\nfirst_run " << record.first_run << "\ncommand " << record.command << "\n";
  const std::string text = out.str();
  const fs::path path = path_of(record.id, files);
  const std::string fresh = path.string() + ".new";
  const auto fail = [&] { throw std::system_error(errno, std::generic_category(), "write " + path.string()); };
  process::Descriptor fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) fail();
  if (::rename(fresh.c_str(), path.c_str()) != 0) fail();
}

std::vector<ChildRecord> read_child_records(const fs::path& files) {
  std::vector<ChildRecord> records;
  std::error_code error;
  for (fs::directory_iterator entry(files, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() != kExtension) continue;
    if (auto record = read(entry->path())) records.push_back(std::move(*record));
  }
  return records;
}

void remove_child_record(std::string_view id, const fs::path& files) noexcept { ::unlink(path_of(id, files).c_str()); }

std::string digest_of(const std::vector<std::string>& command) {
  // FNV-1a: a difference, not a secret. A word ends with a zero.
  std::uint64_t hash = 14695981039346656037u;
  for (const std::string& word : command)
    for (std::size_t i = 0; i <= word.size(); ++i)
      hash = (hash ^ static_cast<unsigned char>(word.c_str()[i])) * 1099511628211u;
  char text[17];
  const auto end = std::to_chars(text, text + sizeof text, hash, 16).ptr;
  return {text, end};
}

}  // namespace bulkhead::pool
