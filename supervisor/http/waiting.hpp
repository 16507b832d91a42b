// What /runsync and /status-sync share: an answer that waits for the end of a job.

#pragma once

#include <optional>
#include <string_view>

#include "supervisor/http/routes.hpp"

namespace bulkhead::http {

/// `?wait=` in ms: 90,000 when it is not said, moved into 1,000 to 300,000. None after a refusal was sent.
std::optional<milliseconds> wait_time(Exchange& exchange);

/// Answers with the job's object when it is final, or when the time is over with the state it is in: HTTP 200 both.
void answer_when_final(Api& api, Exchange& exchange, std::string_view id, milliseconds wait);

/// 503 while an answer is given for which the journal could not be read; none where it could.
std::optional<Problem> unreadable(const Api& api);

/// What a job is that was not found: 404, or unreadable().
Problem unknown_job(const Api& api, std::string_view id);

}  // namespace bulkhead::http
