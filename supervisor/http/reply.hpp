// An answer being put together: its JSON text, its status and its headers.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/http/problem.hpp"
#include "supervisor/job/job_json.hpp"
#include "supervisor/job/json_text.hpp"
#include "supervisor/job/ports.hpp"

namespace bulkhead::http {

/// Reused from answer to answer by its session, so that writing one allocates nothing in the long run.
class Reply : public JsonText {
 public:
  void reset(int status);

  int status() const { return status_; }
  std::size_t body_size() const { return size(); }

  /// A header line of its own: name and value, no line end.
  Reply& header(std::string_view name, std::string_view value);

  /// What the body is, where it is no JSON. `type` outlives the answer.
  Reply& type(std::string_view type) {
    type_ = type;
    return *this;
  }
  std::string_view type() const { return type_; }

  /// Says goodbye: the connection is closed behind this answer.
  void close() { close_ = true; }
  bool closes() const { return close_; }

  const std::string& headers() const { return headers_; }

 private:
  int status_ = 200;
  std::string_view type_;
  bool close_ = false;
  std::string headers_;
};

/// {"id","status"} and nothing else: what /run, /cancel and /retry answer.
void write_state(Reply& reply, std::string_view id, std::string_view status);

/// {"delayTime","id","status","stream":[{"output":…},…]}; with a final state the rest of the job object too, so that a
/// client that stops at the first final answer has missed nothing.
/// `after`: the number of the last chunk, for clients who count, as "after".
void write_stream(Reply& reply, const JobView& view, const std::vector<Payload>& chunks, std::int64_t now_ms,
                  std::optional<std::uint32_t> after = {});

void write_health(Reply& reply, const HealthView& health);

/// What a JSON string of an object stands for; any other value as it is.
Payload object_of(const Payload& json);

/// Sets the status too.
void write_problem(Reply& reply, const Problem& problem);

/// "Not Found" and the like.
std::string_view reason_phrase(int status);

}  // namespace bulkhead::http
