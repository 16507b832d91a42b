// Whether an address could be listened on, found out by trying.

#pragma once

#include <string>

namespace bulkhead::doctor {

/// `where` as `listen` has it: HOST:PORT with the name or number of a host, [V6]:PORT, or unix:/path. What was bound is let go again, and a
/// path is only looked at. Returns 0, or the errno of listening there: EADDRINUSE, EACCES, EADDRNOTAVAIL, …
int try_address(const std::string& where);

}  // namespace bulkhead::doctor
