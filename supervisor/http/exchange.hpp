// One request and its answer, as a route sees them. The session behind it does the rest.

#pragma once

#include <cstdint>
#include <functional>
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
  std::string accept_encoding;
  std::string if_none_match;
  std::string last_event_id;
  std::string host;
  std::string origin;            ///< what page sends it, where a browser says so
  std::string traceparent;       ///< whatever it holds
  std::string forwarded_expect;  ///< Expect, when it is not 100-continue
  std::optional<std::uint64_t> content_length;
  int hosts = 0;          ///< how many Host fields
  bool bad_host = false;  ///< one that names no host
  bool http11 = true;
  bool chunked = false;
  bool cross_site = false;        ///< a browser sends it for a page of another site
  bool foreign_host = false;      ///< Host is a name that anybody may have registered, whatever it leads to
  bool strange_encoding = false;  ///< Transfer-Encoding other than chunked
  bool expects_continue = false;
  bool keep_alive = true;

  void clear();
};

/// An answer that comes in pieces.
struct Pieces {
  std::string_view type;        ///< Content-Type
  std::string_view keep_alive;  ///< what its readers skip: sent where there is nothing else to send
  bool endless = false;         ///< it ends with its client, or with the server
};
inline constexpr Pieces kEvents{"text/event-stream", ":\n\n"};
inline constexpr Pieces kEndlessEvents{"text/event-stream", ":\n\n", true};
inline constexpr Pieces kEndlessLines{"application/x-ndjson", "\n", true};

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
  /// The same, with what is in it.
  Reply& reply_so_far() { return reply_; }
  virtual void send() = 0;
  void send(const Problem& problem);

  /// An answer in pieces instead: begin_pieces() makes the header, with reply()'s status and headers; send_events() sends
  /// what reply() holds since, and calls `taken` later, when the client has taken it and may have more; end_events() ends
  /// the answer. What readers skip keeps the connection alive in between. Before begin_pieces(), send_events() sends
  /// nothing and calls back all the same. One that is endless is ended by the server, when that ends: when_gone() tells.
  virtual void begin_pieces(const Pieces& pieces) = 0;
  void begin_events() { begin_pieces(kEvents); }
  virtual void send_events(std::function<void()> taken) = 0;
  virtual void end_events() = 0;

  /// Whether there is still somebody to answer.
  virtual bool open() const = 0;

  /// Called once if the client goes away before its answer is complete, or an endless answer is ended.
  void when_gone(std::function<void()> gone) { gone_ = std::move(gone); }

  /// The endpoint's number for a wait on this client's behalf; it is stopped when the client goes away.
  void waits_as(std::uint64_t waiter);

 protected:
  Head head_;
  std::string_view id_;
  std::string_view query_;
  Payload body_;
  Reply reply_;
  std::uint64_t waiter_ = 0;
  std::function<void()> gone_;
  bool answered_ = false;  ///< send() was called for the request at hand
};

}  // namespace bulkhead::http
