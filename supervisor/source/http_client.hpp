// HTTP calls out of the supervisor: libcurl's multi interface on its event loop. No thread but libcurl's own for looking
// names up.

#pragma once

#include <curl/curl.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "supervisor/job/payload.hpp"

namespace bulkhead {

struct HttpRequest {
  std::string method = "GET";
  std::string url;                   ///< http or https, nothing else
  std::vector<std::string> headers;  ///< "Name: value"
  std::vector<Payload> body;         ///< sent one behind the other, never copied into one
  std::chrono::milliseconds timeout{30'000};
  std::chrono::milliseconds connect_timeout{10'000};
  /// Redirects that are followed, with the same method and body; from https to https only.
  int redirects = 0;
  bool compressed = false;             ///< the answer may be, and is unpacked
  std::size_t response_max = 1 << 20;  ///< bytes of the answer's body that are read; the rest is cut off
};

struct HttpResult {
  int status = 0;         ///< 0: there was no answer
  std::string error;      ///< why the exchange is not complete, for people; empty: it is. Never names the URL's path
  bool hopeless = false;  ///< the request cannot be made at all: its URL is none
  std::string body;
  std::optional<std::chrono::seconds> retry_after;  ///< the answer's Retry-After
};

/// Belongs to one event loop; all calls on its thread. Certificates are checked, with the system's authorities or those
/// of the file that SSL_CERT_FILE names; proxies are taken from the environment as curl's are (https_proxy, no_proxy, …).
class HttpClient {
 public:
  using Number = std::uint64_t;

  /// At most `at_once` calls are under way; others wait, and their time-out has not begun.
  HttpClient(boost::asio::any_io_executor executor, std::size_t at_once);
  /// Drops what is under way; calls nobody.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// `done` is called once, never from within this call, unless the call is cancelled first.
  Number start(HttpRequest request, std::function<void(HttpResult)> done);
  void cancel(Number number);
  /// Started and not done, waiting ones included.
  std::size_t open() const { return transfers_.size(); }

 private:
  void start_libcurl();
  struct Transfer;
  struct Socket;

  static int on_socket(CURL* easy, curl_socket_t descriptor, int what, void* self, void* socket);
  static int on_timer(CURLM* multi, long timeout_ms, void* self);

  void set_up(Transfer& transfer);
  void begin_waiting();
  void watch(const std::shared_ptr<Socket>& socket);
  void wait_for(const std::shared_ptr<Socket>& socket, int direction);
  void act(curl_socket_t descriptor, int mask);
  void collect();
  void finish(Transfer& transfer, CURLcode code);

  boost::asio::any_io_executor executor_;
  std::size_t at_once_;
  CURLM* multi_ = nullptr;  ///< none before the first call
  boost::asio::steady_timer timer_;
  std::unordered_map<curl_socket_t, std::shared_ptr<Socket>> sockets_;  ///< those libcurl wants watched
  std::unordered_map<Number, std::unique_ptr<Transfer>> transfers_;
  std::deque<Number> waiting_;
  std::size_t under_way_ = 0;
  Number last_ = 0;
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);  ///< for what the loop still holds
};

}  // namespace bulkhead
