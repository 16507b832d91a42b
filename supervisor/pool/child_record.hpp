// What a supervisor notes of each child for the one after it: a file `ID.child` beside the child's black box.
//
// It is written by a rename when the child has been started, so it is there whole or not at all, and removed when the child
// was buried. Text, a `name value` in each line; lines that are not known are passed over.

#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/job/ports.hpp"
#include "supervisor/process/adopt.hpp"

namespace bulkhead::pool {

struct ChildRecord {
  std::string id;  ///< "w2.7": place 2, its seventh child
  process::Identity process;
  std::string token;
  std::string cookie;
  std::string scratch;      ///< name of its scratch directory
  RunNumber first_run = 0;  ///< it was given none below this
  std::string command;      ///< digest_of what it executes

  int place() const;
  int generation() const;
};

/// In the directory of the children's files. Throws std::system_error.
void write(const ChildRecord& record, const std::filesystem::path& files);
/// Those that are whole; never throws for what it finds.
std::vector<ChildRecord> read_child_records(const std::filesystem::path& files);
void remove_child_record(std::string_view id, const std::filesystem::path& files) noexcept;

/// A number for a command line: what differs in a word gives another one.
std::string digest_of(const std::vector<std::string>& command);

}  // namespace bulkhead::pool
