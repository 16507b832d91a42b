#include "supervisor/journal/error.hpp"

#include <sqlite3.h>

#include <string>

namespace bulkhead::journal {
namespace {

class FaultCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "journal"; }

  std::string message(int code) const override {
    switch (static_cast<Fault>(code)) {
      case Fault::Duplicate: return "a job with this id exists";
      case Fault::DuplicateKey: return "another job has this idempotency key";
      case Fault::UnknownJob: return "the journal holds no such job";
      case Fault::Stale: return "the job has finished, or is in another run";
      case Fault::QueueFull: return "too much is waiting to be written to the journal";
      case Fault::SizeLimit: return "the journal has reached its size limit";
      case Fault::OutOfRange: return "a job cannot have that many chunks";
      case Fault::TooLarge: return "a payload is too large to be kept";
      case Fault::InUse: return "in use by another supervisor";
      case Fault::Unsafe: return "others may write there";
      case Fault::NotAJournal: return "not a Bulkhead journal";
      case Fault::TooNew: return "written by a newer Bulkhead";
    }
    return "unknown fault of the journal";
  }

  std::error_condition default_error_condition(int code) const noexcept override {
    switch (static_cast<Fault>(code)) {
      case Fault::Duplicate:
      case Fault::DuplicateKey: return std::errc::file_exists;
      case Fault::UnknownJob: return std::errc::no_such_file_or_directory;
      case Fault::Stale: return std::errc::operation_canceled;
      case Fault::QueueFull: return std::errc::resource_unavailable_try_again;
      case Fault::SizeLimit: return std::errc::no_space_on_device;
      case Fault::OutOfRange: return std::errc::value_too_large;
      case Fault::TooLarge: return std::errc::file_too_large;
      case Fault::InUse: return std::errc::device_or_resource_busy;
      case Fault::Unsafe: return std::errc::permission_denied;
      case Fault::NotAJournal: return std::errc::invalid_argument;
      case Fault::TooNew: return std::errc::not_supported;
    }
    return std::error_condition(code, *this);
  }
};

class SqliteCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "sqlite"; }

  std::string message(int code) const override {
    switch (code & 0xff) {
      case SQLITE_FULL: return "the disk is full";
      case SQLITE_READONLY: return "the file system, or the journal's file, is read-only";
      default: return sqlite3_errstr(code);
    }
  }

  std::error_condition default_error_condition(int code) const noexcept override {
    switch (code & 0xff) {
      case SQLITE_FULL: return std::errc::no_space_on_device;
      case SQLITE_READONLY: return std::errc::read_only_file_system;
      case SQLITE_IOERR: return std::errc::io_error;
      case SQLITE_NOMEM: return std::errc::not_enough_memory;
      case SQLITE_BUSY:
      case SQLITE_LOCKED: return std::errc::device_or_resource_busy;
      case SQLITE_PERM:
      case SQLITE_AUTH: return std::errc::permission_denied;
      case SQLITE_TOOBIG: return std::errc::file_too_large;
      default: return std::error_condition(code, *this);
    }
  }
};

}  // namespace

std::error_code make_error_code(Fault fault) {
  static const FaultCategory category;
  return {static_cast<int>(fault), category};
}

const std::error_category& sqlite_category() {
  static const SqliteCategory category;
  return category;
}

}  // namespace bulkhead::journal
