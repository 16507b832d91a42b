// W3C's Trace Context (https://www.w3.org/TR/trace-context/): the header `traceparent` names the request that led to a job,
// in whatever system follows requests across services. It is passed on and written down, and never changed.

#pragma once

#include <string_view>

#include "supervisor/job/job.hpp"

namespace bulkhead {

/// "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01": what version 00 has, of a header of any version; empty where it
/// is none.
std::string_view traceparent_in(std::string_view header);
/// Its part that all requests of one trace share: 32 hexadecimal digits. `traceparent` is one.
std::string_view trace_id(std::string_view traceparent);

/// Gives it to the job and, as a member of `extra`, to its handler. Nothing where the header is none.
void set_traceparent(Job& job, std::string_view header);
/// Of a job that comes from the journal, which keeps `extra`.
void recall_traceparent(Job& job);

}  // namespace bulkhead
