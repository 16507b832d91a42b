// The crash file: what a child's fatal-signal handler leaves behind, for the supervisor to read and to symbolise.
//
// Text, a fact a line, the keyword first; numbers are decimal, addresses hexadecimal with 0x. It is written by a process
// that is falling apart, with write(2) alone: a reader takes the lines it understands and does without the rest, and may
// find the file cut off at any byte. `end` says that nothing was.
//
//     terminate St13runtime_error: no such model     only before SIGABRT: the mangled type and what() of the exception
//     signal 11 code 1 addr 0x0 tid 4711 ip 0x55d0c0ffee12 sp 0x7ffd00001230
//     sender 4242                                    only where a process sent the signal (code <= 0): its pid
//     thread ocr-worker                              name of the thread
//     frame 0x55d0c0ffee12                           innermost first; the first is where the signal struck, every
//     frame 0x55d0c0ffe034                           other one is a return address (the call ends one byte before it)
//     cut unwinding faulted                          only if the stack could not be followed further, and why
//     maps
//     …                                              the bytes of /proc/self/maps
//     end
//     …                                              whatever the handler that was there before adds: an interpreter's
//                                                    stacks (Python's faulthandler)

// A process that is alive writes into the same file where all its threads are when it gets the signal for that, behind what
// an interpreter has to add:
//
//     stall 4711                                     a thread
//     thread ocr-worker
//     frame 0x55d0c0ffee12                           as above
//     stall 4712                                     the next
//     …
//     stalled                                        there are no more
//     maps
//     …
//     end

#pragma once

#include <csignal>
#include <cstddef>

namespace bulkhead::protocol::crash_file {

inline constexpr char kTerminate[] = "terminate";
inline constexpr char kSignal[] = "signal";
inline constexpr char kSender[] = "sender";
inline constexpr char kThread[] = "thread";
inline constexpr char kFrame[] = "frame";
inline constexpr char kCut[] = "cut";
inline constexpr char kMaps[] = "maps";
inline constexpr char kEnd[] = "end";

inline constexpr char kStall[] = "stall";
inline constexpr char kStalled[] = "stalled";

/// What asks a process for its stacks, and, within it, each thread for its own. Only a process that catches them is sent one.
inline int stacks_signal() { return SIGRTMAX - 6; }
inline int one_stack_signal() { return SIGRTMAX - 7; }
inline constexpr std::size_t kMaxThreads = 64;

/// Frames beyond these are left out (and said so with `cut`): a runaway recursion has the same ones over and over.
inline constexpr std::size_t kMaxFrames = 128;

}  // namespace bulkhead::protocol::crash_file
