// What can go wrong with a journal, as error codes.

#pragma once

#include <system_error>

namespace bulkhead::journal {

/// Refusals of the journal's own. Each equals a std::errc, so that a caller can ask `code == std::errc::file_exists`
/// without knowing this header.
enum class Fault {
  Duplicate = 1,  ///< the id is taken by a job that is live, or that completed (std::errc::file_exists)
  DuplicateKey,   ///< another job was accepted under this idempotency key (std::errc::file_exists)
  UnknownJob,     ///< no such live job: never accepted, settled, or forgotten (std::errc::no_such_file_or_directory)
  Stale,          ///< the job has finished, or another run of it is under way (std::errc::operation_canceled)
  QueueFull,      ///< too much is waiting to be written (std::errc::resource_unavailable_try_again)
  SizeLimit,      ///< the journal has grown to its configured size (std::errc::no_space_on_device)
  OutOfRange,     ///< a chunk number above kMaxChunks (std::errc::value_too_large)
  TooLarge,       ///< a payload that no row can hold: half a gigabyte (std::errc::file_too_large)
  InUse,          ///< another supervisor holds the state directory (std::errc::device_or_resource_busy)
  Unsafe,         ///< the state directory is not ours alone to write (std::errc::permission_denied)
  NotAJournal,    ///< the file is something else (std::errc::invalid_argument)
  TooNew,         ///< written by a later version (std::errc::not_supported)
};

std::error_code make_error_code(Fault fault);

/// Codes of this category are SQLite's extended result codes. The common ones equal a std::errc: a full disk is
/// std::errc::no_space_on_device, a read-only one std::errc::read_only_file_system, any other failure of the disk
/// std::errc::io_error.
const std::error_category& sqlite_category();

}  // namespace bulkhead::journal

template <>
struct std::is_error_code_enum<bulkhead::journal::Fault> : std::true_type {};
