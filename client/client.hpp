// The commands that speak to an endpoint: submit, status, ps, top and the others of client::commands(). They need nothing
// but its address: no state directory, no settings file, no handler.

#pragma once

#include <optional>

namespace bulkhead::client {

/// The exit code, after the work is done; none when the first argument is none of these commands.
std::optional<int> run(int argc, const char* const* argv);

}  // namespace bulkhead::client
