// `bulkhead probe`: a program is asked, by the supervisor that shall hand over to it, whether it would serve in its place. It
// is in no help text: versions ask each other by it, so what stands here is never changed, only added to.

#pragma once

#include <string>
#include <string_view>

#include "supervisor/config/config.hpp"

namespace bulkhead {

/// `bulkhead probe CHANNEL WORDS…`: the version of the init's channel, and the words that the program would be started with.
/// Reads the configuration and the journal's format, tries the addresses that the asker does not listen on, changes nothing, and prints one line of JSON that begins with
/// kProbed and the version; or, on standard error, why not, and answers with another code than 0.
int probe(int argc, const char* const* argv, const config::Environment& environment);

inline constexpr std::string_view kProbed = "{\"version\":\"";

/// In the probe's environment: what the asker listens on, a line each, "endpoint ADDRESS" or "metrics ADDRESS" as the
/// configuration has them. These are handed over, so the probe cannot and need not listen there. Not set: none is tried.
inline constexpr const char* kListening = "BULKHEAD_PROBE_LISTENING";

}  // namespace bulkhead
