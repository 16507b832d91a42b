// The processes below this one, however they left their parent, group or session: it is PID 1 or a subreaper, so who
// loses a parent hangs under it.

#pragma once

namespace bulkhead::init {

/// Sends `signal` to every process below this one. As PID 1 that is everything in the namespace, in one call. Otherwise
/// /proc is read, and who is started meanwhile may be missed: to be sure, do it again until there is no child left.
/// Without a /proc of our own namespace only the process group `group` (of a child that is not reaped, or that still
/// has members; 0: none) is reached.
void signal_all_below(int signal, int group);

}  // namespace bulkhead::init
