// Tries that must not happen in this process: each is made in a child that ends at once.

#pragma once

#include <functional>

namespace bulkhead::doctor {

/// Calls `attempt` in a forked child, which ends with what it gives (0: it worked; an errno value otherwise). Gives that,
/// or ECHILD where the child died of a signal, or what fork failed with. `attempt` may only make system calls.
int try_in_child(const std::function<int()>& attempt);

}  // namespace bulkhead::doctor
