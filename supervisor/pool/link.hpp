// The children's end of the wire: one ZeroMQ ROUTER on a Unix socket, and a Line for every child that may speak on it.
//
// Who may speak: a child proves itself by its routing id, a random token given to it at its start. What comes from any
// other is refused and forgotten. While a token is connected, a second connection with it never gets through.
//
// When a child has died, what it had sent still counts. ZeroMQ hides the end of a connection, so the link watches the
// socket's monitor: when the descriptor over which a child's first message came is reported as disconnected, the link
// receives until nothing of that child is left, and only then calls LineHandler::closed(). Nothing comes after it.
// A process that inherited the child's socket keeps it open: whoever waits for closed() ends the strays and bounds
// the wait.
//
// One thread. A handler may send, and may make or destroy lines, its own excepted.

#pragma once

#include <array>
#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "protocol/codec.hpp"
#include "supervisor/job/payload.hpp"

namespace bulkhead::pool {

namespace asio = boost::asio;

/// A child's name on the wire: 128 random bits as 32 hexadecimal digits.
struct Token {
  std::array<char, 32> hex{};

  /// From the kernel's generator. Throws std::system_error.
  static Token random();
  /// Of its 32 digits.
  static Token of(std::string_view hex);
  std::string_view view() const { return {hex.data(), hex.size()}; }
  bool operator==(const Token&) const = default;
};

struct LinkOptions {
  protocol::Limits limits;
  int batch = 64;               ///< messages received in one go before the rest of the loop has its turn
  int receive_queue = 100'000;  ///< messages of one child that may wait here before it is read no further
  int send_queue = 4096;        ///< messages that may wait for one child before it counts as not reading
};

class Link;
struct LinkState;

/// A message that came, valid for the call it is passed to.
class Received {
 public:
  const protocol::FromChild& message() const { return message_; }
  /// A body of the message, to keep. A large one is not copied. At most once for each body.
  Payload keep(std::string_view body);

 private:
  friend struct LinkState;
  Received(const protocol::FromChild& message, LinkState& link) : message_(message), link_(link) {}
  const protocol::FromChild& message_;
  LinkState& link_;
};

/// What a child's line reports.
class LineHandler {
 public:
  virtual void received(Received& received) = 0;
  /// A message that could not be understood.
  virtual void garbled(const protocol::DecodeError& error) = 0;
  /// The child's end of the connection is closed, and everything it had sent has been received. Once, and the last
  /// call.
  virtual void closed() = 0;

 protected:
  ~LineHandler() = default;
};

enum class Sent : std::uint8_t {
  Yes,
  Closed,  ///< the child has not connected, or its end is closed
  Full     ///< LinkOptions::send_queue messages wait for it already: it has stopped reading
};

/// One child's place on the link, which outlives it. Destroying it withdraws the token.
class Line {
 public:
  ~Line();
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  const Token& token() const { return token_; }
  /// Sends a message. `owners` are its bodies once more, as payloads, in their order: a large body is sent
  /// from where it lies, and its owner is released when it has left, ON ANOTHER THREAD. Without owners bodies are
  /// copied.
  Sent send(const protocol::ToChild& message, std::span<const Payload> owners = {});
  /// True once the child has sent anything.
  bool connected() const { return phase_ != Phase::Expected; }
  /// True from the call of LineHandler::closed() on.
  bool closed() const { return phase_ == Phase::Closed; }

 private:
  friend class Link;
  friend struct LinkState;
  enum class Phase : std::uint8_t {
    Expected,   ///< has not sent anything
    Connected,  ///< over descriptor_
    Draining,   ///< the descriptor was disconnected; what it had sent is being received
    Closed
  };
  Line(LinkState& link, const Token& token, LineHandler& handler);

  LinkState& link_;
  LineHandler& handler_;
  Token token_;
  Phase phase_ = Phase::Expected;
  int descriptor_ = -1;
  int others_ = 0;  ///< while draining: messages of others since the last of its own
};

class Link {
 public:
  /// Binds `runtime_dir`/link. The directory must exist and be the owner's alone. Throws std::system_error; that of a
  /// path too long for a Unix socket says how long it may be.
  Link(asio::any_io_executor executor, const std::filesystem::path& runtime_dir, LinkOptions options);
  /// Closes the socket and removes its file. What was not yet sent is dropped. Lines must be gone.
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// What a child connects to: "ipc://…/link".
  const std::string& endpoint() const;

  /// Expects a child with this token. `handler` outlives the line.
  std::unique_ptr<Line> expect(const Token& token, LineHandler& handler);

  /// Takes what has come by now, instead of at the loop's next turn: at a death, where every moment counts. Does
  /// nothing from within a LineHandler's call.
  void look();

 private:
  std::shared_ptr<LinkState> state_;
};

}  // namespace bulkhead::pool
