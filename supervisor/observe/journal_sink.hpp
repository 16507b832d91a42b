// systemd's journal, spoken to directly: a line of the log is an entry with fields of its own, so that
// `journalctl JOB_ID=…` finds them (systemd.journal-fields(7), https://systemd.io/JOURNAL_NATIVE_PROTOCOL).

#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace spdlog::sinks {
class sink;
}

namespace bulkhead::observe {

// MESSAGE_ID: what kind of line it is.
inline constexpr std::string_view kMessageOfSupervisor = "6f0f4a7be4b24ac6a5c2a1f1c7e0d5b1";  ///< its own
inline constexpr std::string_view kMessageOfPool = "0c1b62c5d9884c6f9a0e3f6fbb1a7a02";  ///< about a handler process
inline constexpr std::string_view kMessageOfHandler =
    "b7d34e0c51c04f0fb9d0c1c84a3d9e13";                                                  ///< a handler's output or log
inline constexpr std::string_view kMessageOfState = "2f9c8f5f7a3f4f7e8a36d2b5f0a4c724";  ///< SIGUSR1's line of JSON

/// Adds a field to an entry; nothing where the value is empty.
void append_journal_field(std::string& entry, std::string_view name, std::string_view value);

/// Sends each message, an entry of such fields, to the journal; what does not fit a datagram is cut to its first part, and
/// where there is no journal it is lost, as a line on a closed standard error would be. Throws std::system_error if there
/// is no socket to be had.
std::shared_ptr<spdlog::sinks::sink> journal_sink();

}  // namespace bulkhead::observe
