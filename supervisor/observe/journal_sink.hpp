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

/// Adds a field to an entry; nothing where the value is empty.
void append_journal_field(std::string& entry, std::string_view name, std::string_view value);

/// Sends each message, an entry of such fields, to the journal; what does not fit a datagram is cut to its first part, and
/// where there is no journal it is lost, as a line on a closed standard error would be. Throws std::system_error if there
/// is no socket to be had.
std::shared_ptr<spdlog::sinks::sink> journal_sink();

}  // namespace bulkhead::observe
