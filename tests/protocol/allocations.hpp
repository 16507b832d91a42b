// Counts what a test program allocates. A source of its own: where the compiler sees both ends of an allocation, it takes
// the replaced ones for mismatched.

#pragma once

#include <cstddef>

namespace bulkhead::protocol {

/// Allocations by operator new since the start.
std::size_t allocations();

}  // namespace bulkhead::protocol
