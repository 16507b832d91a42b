// The versions of the journal's format, and the way from each to the next.

#pragma once

#include <functional>
#include <span>

#include "supervisor/journal/sqlite.hpp"
#include "supervisor/journal/state_directory.hpp"

namespace bulkhead::journal {

/// Marks the file as ours ("BHjl"), in SQLite's header.
inline constexpr int kApplicationId = 0x42486a6c;

/// SQL that takes a journal of version n to version n + 1, n being its place in the list; the first makes version 1 out
/// of an empty database. A released step is never changed.
std::span<const char* const> schema_steps();

/// Brings the database to version `steps.size()`, in one transaction. `before` is called once with the present version
/// if a journal with jobs in it is about to change, and may throw: nothing has happened yet.
/// Throws Fault::NotAJournal or Fault::TooNew, naming `path`.
void migrate(Connection& connection, std::span<const char* const> steps, const std::string& path,
             const std::function<void(int version)>& before);

/// Where the journal of an older version is kept when it is migrated: "journal.v1.db".
std::string backup_name(int version);

/// The way back: writes the journal as it is now beside the one that is about to change, in place of an older copy.
void back_up(Connection& connection, const StateDirectory& directory, int version);

}  // namespace bulkhead::journal
