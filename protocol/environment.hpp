// The variables by which a supervisor introduces itself to the child it starts.

#pragma once

namespace bulkhead::protocol::environment {

/// ZeroMQ endpoint to connect to ("ipc:///run/…/link"). Its presence is what "supervised" means. The SDK removes this
/// and the token from its own environment when it connects, so that programs a handler starts do not impersonate it.
inline constexpr char kSocket[] = "BULKHEAD_SOCKET";
/// The routing id to connect with: 32 hexadecimal digits, a credential.
inline constexpr char kToken[] = "BULKHEAD_TOKEN";
/// Path of the black box file, already sized and zeroed.
inline constexpr char kBlackBox[] = "BULKHEAD_BLACK_BOX";
/// Path of the file the fatal-signal handler writes raw addresses and the memory map to; it exists and is empty.
inline constexpr char kCrashFile[] = "BULKHEAD_CRASH_FILE";
/// Names the child, for logs and errors ("w0.3": slot 0, its third child).
inline constexpr char kWorkerId[] = "BULKHEAD_WORKER_ID";
/// Marks every process that descends from a child, so that strays are found when it ends. Stays in the environment.
inline constexpr char kCookie[] = "BULKHEAD_COOKIE";

}  // namespace bulkhead::protocol::environment
