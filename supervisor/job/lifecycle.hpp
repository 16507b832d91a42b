// The life of a job, as one table: in which state, on which event, into which state, with which effects.
//
//   Accepting -> Queued -> Starting -> HandedOut -> Finishing -> Reporting -> Settled
//                  ^          |            |  \          ^
//                  +----------+------------+   Stopping -> Terminating -> Killing
//
// Pure: no clock, no I/O. Timeouts, cancels, crashes and hand-backs are events like any other; whoever calls `apply`
// carries the effects out, in the order of the enumeration.

#pragma once

#include <cstdint>
#include <string_view>

namespace bulkhead {

enum class State : std::uint8_t {
  Accepting,    ///< being made durable; nobody was told yet
  Admitting,    ///< the same, in one write with its first attempt: it has a child already
  Queued,       ///< waits for a child, or for its retry delay
  Starting,     ///< has a child; the attempt is being made durable
  HandedOut,    ///< sent to the child: waits in its window, or runs
  Stopping,     ///< its stop token was fired (cancel, timeout, expiry, drain)
  Terminating,  ///< that did not help: its child was sent SIGTERM
  Killing,      ///< nor did that: SIGKILL
  Finishing,    ///< ended; the outcome is being made durable
  Reporting,    ///< the source is being told
  Settled,      ///< over
};
inline constexpr int kStates = 11;

enum class Event : std::uint8_t {
  Accepted,       ///< the job is durable
  Refused,        ///< it could not be made so
  Assigned,       ///< the scheduler found a child
  StartWritten,   ///< the attempt is durable
  StartRefused,   ///< it could not be made so
  Answered,       ///< the handler returned or threw
  HandedBack,     ///< the child gave it back unentered
  LostUnentered,  ///< the child died; the job had not been entered
  LostEntered,    ///< the child died with it
  StopWanted,     ///< cancelled, past its deadline, expired, or drained: Facts::stop says so from now on
  StepDue,        ///< the ladder's current step has had its time
  FinishWritten,  ///< the outcome is durable (or is kept in memory until the disk is back)
  Reported,       ///< the source has it
};
inline constexpr int kEvents = 13;

/// What the table needs to know besides state and event.
struct Facts {
  bool refused = false;           ///< it could not be made durable
  bool stop = false;              ///< a stop was wanted
  bool worker_gone = false;       ///< the child died between assignment and hand-out
  bool may_retry = false;         ///< another attempt is allowed after the one that this event ends
  bool requeue_unentered = true;  ///< it was a bystander no more often than allowed
};

/// One bit each, carried out from the lowest to the highest.
enum class Effect : std::uint16_t {
  None = 0,
  AnswerAccepted = 1 << 0,  ///< tell the submitter
  Dequeue = 1 << 1,         ///< take it out of the scheduler's queue
  Release = 1 << 2,         ///< its place in the child is free (or never was used)
  WriteRequeue = 1 << 3,    ///< journal: queued again, the attempt not counted
  WriteLost = 1 << 4,       ///< journal: queued again, the attempt counted
  EnqueueFirst = 1 << 5,    ///< back to the head of the queue
  Enqueue = 1 << 6,         ///< to its end (after the retry delay, if there is one)
  SendCancel = 1 << 7,
  Terminate = 1 << 8,
  Kill = 1 << 9,
  ArmStep = 1 << 10,  ///< the ladder's next step has a deadline
  WriteStart = 1 << 11,
  Send = 1 << 12,  ///< hand it out; the attempt's deadline begins
  WriteFinish = 1 << 13,
  Report = 1 << 14,
  AnswerRefused = 1 << 15,  ///< tell the submitter, and forget the job
};
constexpr Effect operator|(Effect a, Effect b) {
  return static_cast<Effect>(static_cast<std::uint16_t>(a) | static_cast<std::uint16_t>(b));
}
constexpr bool has(Effect set, Effect one) {
  return (static_cast<std::uint16_t>(set) & static_cast<std::uint16_t>(one)) != 0;
}

struct Transition {
  State next;
  Effect effects = Effect::None;
  bool expected = true;  ///< false: this event has no meaning in this state, and changes nothing
};

Transition apply(State state, Event event, const Facts& facts);

/// Whether a child holds the job in this state.
constexpr bool is_out(State state) { return state >= State::HandedOut && state <= State::Killing; }
constexpr bool is_over(State state) { return state >= State::Finishing; }

std::string_view to_string(State state);
std::string_view to_string(Event event);

}  // namespace bulkhead
