// One request and its answer, as a route sees them. The session behind it does the rest.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "supervisor/http/reply.hpp"
#include "supervisor/job/payload.hpp"

namespace bulkhead::http {

enum class Method : std::uint8_t { Get, Post, Head, Options, Other };

/// What a request's header said, as far as anybody here asks.
struct Head {
  Method method = Method::Other;
  std::string target;
  std::string authorization;
  std::string idempotency_key;
  std::string accept;
  std::string last_event_id;
  std::string forwarded_expect;  ///< Expect, when it is not 100-continue
  std::optional<std::uint64_t> content_length;
  int hosts = 0;  ///< how many Host fields
  bool http11 = true;
  bool chunked = false;
  bool strange_encoding = false;  ///< Transfer-Encoding other than chunked
  bool expects_continue = false;
  bool keep_alive = true;

  void clear();
};

class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  virtual ~Exchange() = default;

  const Head& head() const { return head_; }
  std::string_view id() const { return id_; }        ///< the job's, from the path
  std::string_view query() const { return query_; }  ///< behind the '?'
  const Payload& body() const { return body_; }

  /// The answer to fill in; send() then ships it. Both exactly once, at once or later. An exchange whose client has
  /// gone swallows its answer.
  Reply& reply(int status = 200);
  virtual void send() = 0;
  void send(const Problem& problem);

  /// Whether there is still somebody to answer.
  virtual bool open() const = 0;

  /// The endpoint's number for a wait on this client's behalf; it is stopped when the client goes away.
  void waits_as(std::uint64_t waiter);

 protected:
  Head head_;
  std::string_view id_;
  std::string_view query_;
  Payload body_;
  Reply reply_;
  std::uint64_t waiter_ = 0;
  bool answered_ = false;  ///< send() was called for the request at hand
};

}  // namespace bulkhead::http
