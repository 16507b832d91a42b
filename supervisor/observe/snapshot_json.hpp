// What there is to see, as the JSON that programs and the page read. docs/OBSERVING.md describes each member.

#pragma once

#include <cstdint>
#include <string>

#include "supervisor/observe/history.hpp"
#include "supervisor/observe/snapshot.hpp"

namespace bulkhead::observe {

/// One object on one line.
std::string to_json(const Snapshot& snapshot);

/// The intervals and the hour that end at `now_ms` (wall time); one object on one line.
std::string to_json(const History& history, std::int64_t now_ms);

}  // namespace bulkhead::observe
