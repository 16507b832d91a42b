// A job as server-sent events: each chunk, progress value and change of state the moment it happens.
//
//   event: status     data: the job object                  at the start, and when the state changes
//   event: progress   data: the job object                  its output is the latest progress value
//   event: chunk      data: {"output":…}     id: its number  every chunk, once
//   event: done       data: the job object                  the end: nothing follows
//
// A client that comes back with Last-Event-ID gets the chunks behind that number; what has no number is told anew.

#pragma once

#include <string_view>

#include "supervisor/http/routes.hpp"

namespace bulkhead::http {

/// Whether an Accept field asks for text/event-stream.
bool wants_events(std::string_view accept);

void follow_as_events(Api& api, Exchange& exchange);

/// A JSON text without line ends, which an event cannot hold (in JSON they only ever stand between two tokens).
Payload one_line(const Payload& json);

}  // namespace bulkhead::http
