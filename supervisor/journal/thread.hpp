// How the journal starts its threads.

#pragma once

#include <functional>
#include <thread>

namespace bulkhead::journal {

/// Starts a thread with all signals blocked (they are for the event loop's thread) under a name that top -H shows, of at
/// most 15 characters.
std::thread start_thread(const char* name, std::function<void()> body);

}  // namespace bulkhead::journal
