// The body of /run and /runsync: validated once, and cut into what the rest of the house needs.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "supervisor/http/problem.hpp"
#include "supervisor/job/job.hpp"

namespace bulkhead::http {

/// The views lie in the body.
struct Submission {
  std::string_view input;      ///< one JSON value
  std::string_view s3_config;  ///< a JSON object, or empty; for the handler only: never echoed, never logged
  std::string webhook;         ///< a URL, or empty
  Policy policy;               ///< the defaults, with what the client said over them
};

/// Unknown top-level keys are dropped, as RunPod drops them. Refused with 400, position and reason: what is not JSON,
/// a key given twice (at the top and in `policy`), a number beyond a double (there; inside `input` it passes), a value
/// of the wrong kind or out of its range.
std::variant<Submission, Problem> parse_submission(std::string_view body, const Policy& defaults);

/// The body of an OpenAI call: one JSON object, validated the same way.
struct OpenAiCall {
  bool stream = false;
};
std::variant<OpenAiCall, Problem> parse_openai(std::string_view body);

}  // namespace bulkhead::http
