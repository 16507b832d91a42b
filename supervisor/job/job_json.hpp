// The job object of RunPod's contract: what /status answers and what a webhook is sent, byte for byte the same.

#pragma once

#include <cstdint>

#include "supervisor/job/json_text.hpp"
#include "supervisor/job/ports.hpp"

namespace bulkhead {

/// From submission to the start of the attempt that counts, or to the end of a job that never started, or to now.
std::int64_t delay_ms(const JobView& view, std::int64_t now_ms);

/// Keys in alphabetical order, as RunPod writes them. All times in ms. Of a final job it does not depend on `now_ms`.
void write_job(JsonText& json, const JobView& view, std::int64_t now_ms);
/// Its members without the braces.
void write_job_members(JsonText& json, const JobView& view, std::int64_t now_ms);

/// What clients see of a job that has ended. The view lives as long as `known`.
JobView view_of(const Remembered& known);

/// A job's error: a text, which needs no escaping.
Payload text_error(std::string_view text);
/// The error of a job whose process was lost, in the form of a crash record: an object, as the text of a string. `message`
/// needs no escaping.
Payload lost_error(const std::string& message, int attempt);

}  // namespace bulkhead
