// One HTTP request at a time to the endpoint, over libcurl.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "client/interrupts.hpp"
#include "client/options.hpp"

namespace bulkhead::client {

using Clock = std::chrono::steady_clock;

struct Request {
  bool post = false;
  std::string path;  ///< begins with a slash
  std::string body;
  std::vector<std::string> headers;  ///< "Name: value"
};

struct Answer {
  long status = 0;
  std::string body;
  long retry_after_s = 0;  ///< 0: not said
};

/// There was no whole answer.
struct Lost {
  enum class Why : std::uint8_t {
    Unreachable,  ///< no connection came about: nothing was sent
    Broken,       ///< it broke, or nothing came for a minute: the request may have been taken
    Unsuited,     ///< trying again cannot help: a certificate that is not trusted, an answer that is no HTTP
    Deadline,
    Interrupted,
    Left  ///< Beside::look wanted no more
  };
  Why why = Why::Broken;
  std::string text;
};

/// What else is looked at while a request is on its way, and in the pauses between two: keys, a terminal's size, a clock.
struct Beside {
  std::vector<int> descriptors;  ///< readable: `look` is called
  milliseconds every{0};         ///< it is called this often besides; 0: not
  std::function<bool()> look;    ///< false ends it all: Lost::Why::Left
};

class Connection {
 public:
  /// All three outlive it. Throws std::system_error when libcurl cannot be set up.
  Connection(const Address& address, const std::string& api_key, Interrupts& interrupts);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Gives a 200's body to `take` as it comes; without one, and for any other status, it is in the answer.
  using Take = std::function<void(std::string_view)>;
  std::variant<Answer, Lost> send(const Request& request, Clock::time_point deadline, const Take& take = {});

  void look_beside(Beside beside) { beside_ = std::move(beside); }
  /// Waits, but not beyond a signal, nor when Beside::look wants no more: that is what false says.
  bool pause(milliseconds time);

 private:
  struct Handles;
  bool look(bool readable);
  std::optional<Lost> perform(Clock::time_point deadline);

  const Address& address_;
  const std::string& api_key_;
  Interrupts& interrupts_;
  std::unique_ptr<Handles> handles_;
  Beside beside_;
  Clock::time_point looked_ = Clock::now();
};

}  // namespace bulkhead::client
