// One connection: reads a request, has it answered, reads the next.

#pragma once

#include <boost/asio/generic/stream_protocol.hpp>

#include <optional>

#include "supervisor/http/exchange.hpp"
#include "supervisor/http/head_parser.hpp"
#include "supervisor/http/inbox.hpp"
#include "supervisor/http/outbox.hpp"
#include "supervisor/http/routes.hpp"

namespace bulkhead::http {

class Server;

class Session final : public Exchange {
 public:
  using Socket = boost::asio::generic::stream_protocol::socket;

  /// `surplus`: there are too many connections; this one is told so and closed.
  Session(Server& server, Socket socket, bool surplus);

  void start();
  /// Closes as soon as no request is under way.
  void drain();
  /// Ends an answer that has no end of its own.
  void end_endless();
  /// Leaves its connection to the server as soon as no request is under way.
  void hand_over();
  /// Closes now, and leaves the server's list.
  void close();
  /// Called every sweep.
  void check_deadline();

  using Exchange::send;
  void send() override;
  void begin_pieces(const Pieces& pieces) override;
  void send_events(std::function<void()> taken) override;
  void end_events() override;
  bool open() const override { return phase_ != Phase::Closed; }

 private:
  enum class Phase : std::uint8_t {
    Head,       ///< reading a header, or idle before one
    Body,       ///< reading a body
    Answering,  ///< a route has it
    Streaming,  ///< a route has it, and has begun an answer of events
    Lingering,  ///< the last answer is out; the client may still be sending what nobody wants
    Closed
  };

  static constexpr milliseconds kCommentAfter{15'000};  ///< proxies cut streams that say nothing for a minute

  void advance();
  bool step();
  void rest();
  bool read_head();
  bool read_body();
  bool read_known_body();
  bool read_chunked_body();
  void on_head();
  std::optional<Problem> judge_head();
  void finish_request();
  void dispatch();
  void complete(bool keep);
  bool keeps() const;
  void release_rate();
  bool busy() const { return phase_ == Phase::Answering || phase_ == Phase::Streaming; }
  void fail(Problem problem);
  bool on_parse_error(const boost::beast::error_code& error);
  bool has_body() const { return head_.chunked || head_.content_length.value_or(0) > 0; }
  void answer_options();

  void read();
  void on_read(const boost::system::error_code& error, std::size_t count);
  void on_peer_closed();
  void flush();
  void await_writable();
  void linger();
  bool is_idle() const;
  bool is_tcp() const;
  void part();
  void comment();

  std::shared_ptr<Session> self() { return std::static_pointer_cast<Session>(shared_from_this()); }

  Server& server_;
  Socket socket_;
  Phase phase_ = Phase::Head;
  bool surplus_;
  bool advancing_ = false;
  bool reading_ = false;
  bool reading_body_ = false;  ///< the read under way goes into body_bytes_
  bool writing_ = false;
  bool close_after_ = false;  ///< no further request is read
  bool peer_closed_ = false;  ///< it has shut down its side
  bool keep_alive_ = true;    ///< of the request at hand
  Pieces pieces_ = kEvents;   ///< what is being sent in pieces
  bool chunked_ = false;      ///< the answer of events is framed in chunks (HTTP/1.0 knows none)
  bool rated_ = false;        ///< counted by the server's rate limits

  Inbox inbox_;
  Outbox outbox_;
  std::optional<HeadParser> parser_;
  std::size_t header_bytes_ = 0;
  const Route* route_ = nullptr;
  std::optional<Problem> refusal_;  ///< sent when the body has been read over
  std::string allow_;               ///< for 405 and OPTIONS
  std::shared_ptr<char[]> body_bytes_;
  std::size_t body_size_ = 0;
  std::size_t body_have_ = 0;
  std::uint64_t deadline_ = 0;        ///< in sweeps; 0: none
  std::uint64_t write_deadline_ = 0;  ///< the same, while writing_
  std::uint64_t comment_at_ = 0;      ///< when an idle stream is given a comment
  std::size_t lingered_ = 0;          ///< bytes thrown away
  std::function<void()> taken_;       ///< of send_events
};

}  // namespace bulkhead::http
