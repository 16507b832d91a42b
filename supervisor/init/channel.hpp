// What passes between the init and its supervisors, who may be of other versions than it: docs/INIT.md has the table.

#pragma once

namespace bulkhead::init {

/// An init lives for as long as the container or the service: what a version means is never changed.
inline constexpr int kChannelVersion = 1;

/// "1 A B C D E": the version, and descriptors. A, B: a pair of sockets in which supervisors keep the sockets that they listen
/// on: in at A, out at B. C, D: likewise connections, while one supervisor hands over to the next. E: a pipe into which a
/// supervisor that is ready writes its pid, an int32; and then knocks with SIGCHLD.
inline constexpr char kChannel[] = "BULKHEAD_INIT_CHANNEL";

/// How a supervisor came to be: "first"; "again", after one that was killed; "trial MS", as what a supervisor handed over to,
/// and to be taken back should it not be ready in time, or end within MS of that; "back WHY", after one that was taken back.
inline constexpr char kLife[] = "BULKHEAD_INIT_LIFE";

/// A supervisor exits with this when it has handed its work over to the next, which is the file that is at its path by then.
inline constexpr int kHandedOver = 121;

}  // namespace bulkhead::init
