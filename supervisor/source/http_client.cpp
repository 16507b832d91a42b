// How libcurl and the loop speak: libcurl says which sockets it wants watched and when it wants to be called anyway
// (on_socket, on_timer); the loop calls it back when one of these happens (act), which may end transfers (collect).
//
// A descriptor is libcurl's: it is only lent to the loop, and released before libcurl closes it. What the loop still
// holds of one that was taken away (or of a client that is gone) finds `gone` set (or `alive_` expired) and does nothing.
//
// Names are looked up by a thread of libcurl's for each. QUICK_EXIT keeps libcurl from waiting for such a thread when its
// transfer is over: a name server that does not answer would otherwise hold up the whole loop.

#include "supervisor/source/http_client.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdlib>
#include <new>
#include <utility>

namespace bulkhead {

namespace asio = boost::asio;

struct HttpClient::Socket {
  explicit Socket(const asio::any_io_executor& executor) : descriptor(executor) {}
  asio::posix::stream_descriptor descriptor;
  int wanted = 0;   ///< CURL_POLL_IN | CURL_POLL_OUT
  int waiting = 0;  ///< which of them the loop waits for
  bool gone = false;
};

struct HttpClient::Transfer {
  ~Transfer() {
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
  }

  Number number = 0;
  HttpRequest request;
  std::function<void(HttpResult)> done;
  HttpResult result;
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  bool under_way = false;
  bool cut_off = false;   ///< the answer was longer than wanted
  std::size_t piece = 0;  ///< of the body: to be sent next
  std::size_t at = 0;     ///< in that piece
  char error[CURL_ERROR_SIZE] = "";

  curl_off_t body_size() const {
    std::size_t size = 0;
    for (const Payload& part : request.body) size += part.size();
    return static_cast<curl_off_t>(size);
  }
};

namespace {

/// Descriptors must not leak into handlers' processes.
curl_socket_t open_socket(void*, curlsocktype, curl_sockaddr* address) {
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

template <class Transfer>
std::size_t read_body(char* to, std::size_t size, std::size_t count, void* pointer) {
  auto& transfer = *static_cast<Transfer*>(pointer);
  std::size_t room = size * count, written = 0;
  while (room > written && transfer.piece < transfer.request.body.size()) {
    std::string_view part = transfer.request.body[transfer.piece].bytes().substr(transfer.at);
    std::size_t some = std::min(part.size(), room - written);
    part.copy(to + written, some);  // which, unlike memcpy, takes none of nothing
    written += some;
    transfer.at += some;
    if (some == part.size()) {
      ++transfer.piece;
      transfer.at = 0;
    }
  }
  return written;
}

/// Only ever back to the beginning: for a redirect, or on a new connection when an idle one turned out to be closed.
template <class Transfer>
int seek_body(void* pointer, curl_off_t offset, int origin) {
  if (origin != SEEK_SET || offset != 0) return CURL_SEEKFUNC_CANTSEEK;
  auto& transfer = *static_cast<Transfer*>(pointer);
  transfer.piece = transfer.at = 0;
  return CURL_SEEKFUNC_OK;
}

template <class Transfer>
std::size_t write_answer(char* data, std::size_t size, std::size_t count, void* pointer) {
  auto& transfer = *static_cast<Transfer*>(pointer);
  std::size_t room = transfer.request.response_max - transfer.result.body.size();
  transfer.result.body.append(data, std::min(size * count, room));
  transfer.cut_off = size * count > room;
  return transfer.cut_off ? 0 : size * count;
}

}  // namespace

HttpClient::HttpClient(asio::any_io_executor executor, std::size_t at_once)
    : executor_(std::move(executor)), at_once_(at_once), timer_(executor_) {}

/// With the first call: what libcurl brings along (two TLS libraries, Kerberos, LDAP) is a fifth of an idle supervisor's
/// memory, and most never call anybody. Safe beside other threads since libcurl 7.84.
void HttpClient::start_libcurl() {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  multi_ = curl_multi_init();
  if (multi_ == nullptr) throw std::bad_alloc();
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &HttpClient::on_socket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &HttpClient::on_timer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(at_once_));
}

HttpClient::~HttpClient() {
  alive_.reset();
  for (auto& [number, transfer] : transfers_)
    if (transfer->under_way) curl_multi_remove_handle(multi_, transfer->easy);
  transfers_.clear();
  for (auto& [descriptor, socket] : sockets_) {
    socket->gone = true;
    socket->descriptor.release();
  }
  sockets_.clear();
  if (multi_ == nullptr) return;
  curl_multi_cleanup(multi_);
  curl_global_cleanup();
}

// ---- calls ---------------------------------------------------------------------------------------------------------

HttpClient::Number HttpClient::start(HttpRequest request, std::function<void(HttpResult)> done) {
  if (multi_ == nullptr) start_libcurl();
  auto transfer = std::make_unique<Transfer>();
  transfer->number = ++last_;
  transfer->request = std::move(request);
  transfer->done = std::move(done);
  transfer->easy = curl_easy_init();
  if (transfer->easy == nullptr) throw std::bad_alloc();
  set_up(*transfer);
  transfers_.emplace(last_, std::move(transfer));
  waiting_.push_back(last_);
  begin_waiting();
  return last_;
}

void HttpClient::set_up(Transfer& transfer) {
  const HttpRequest& request = transfer.request;
  CURL* easy = transfer.easy;
  auto set = [easy](CURLoption option, auto value) { curl_easy_setopt(easy, option, value); };
  set(CURLOPT_PRIVATE, &transfer);
  set(CURLOPT_ERRORBUFFER, transfer.error);
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  bool secure = request.url.size() > 4 && (request.url[4] == 's' || request.url[4] == 'S');
  set(CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
  set(CURLOPT_FOLLOWLOCATION, request.redirects > 0 ? 1L : 0L);
  set(CURLOPT_MAXREDIRS, static_cast<long>(request.redirects));
  set(CURLOPT_POSTREDIR, static_cast<long>(CURL_REDIR_POST_ALL));
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count()));
  // One call, one connection: nobody waits behind another's body, and limits of calls are limits of connections.
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);  // a call that is held for long crosses routers that forget
  if (request.compressed) set(CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
  if (const char* bundle = std::getenv("SSL_CERT_FILE"); bundle != nullptr && *bundle != '\0')
    set(CURLOPT_CAINFO, bundle);
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_OPENSOCKETFUNCTION, &open_socket);
  set(CURLOPT_WRITEFUNCTION, &write_answer<Transfer>);
  set(CURLOPT_WRITEDATA, &transfer);
  if (!request.body.empty() || request.method == "POST") {
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDSIZE_LARGE, transfer.body_size());
    set(CURLOPT_READFUNCTION, &read_body<Transfer>);
    set(CURLOPT_READDATA, &transfer);
    set(CURLOPT_SEEKFUNCTION, &seek_body<Transfer>);
    set(CURLOPT_SEEKDATA, &transfer);
    if (request.method != "POST") set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
    // Or libcurl waits a second for leave to send a long body.
    transfer.headers = curl_slist_append(transfer.headers, "Expect:");
  } else if (request.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else if (request.method != "GET") {
    set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  for (const std::string& header : request.headers)
    transfer.headers = curl_slist_append(transfer.headers, header.c_str());
  set(CURLOPT_HTTPHEADER, transfer.headers);
}

void HttpClient::begin_waiting() {
  while (under_way_ < at_once_ && !waiting_.empty()) {
    Transfer& transfer = *transfers_.at(waiting_.front());
    waiting_.pop_front();
    transfer.under_way = true;
    ++under_way_;
    curl_multi_add_handle(multi_, transfer.easy);  // arms the timer for at once
  }
}

void HttpClient::cancel(Number number) {
  auto found = transfers_.find(number);
  if (found == transfers_.end()) return;
  auto transfer = std::move(found->second);
  transfers_.erase(found);
  if (transfer->under_way) {
    curl_multi_remove_handle(multi_, transfer->easy);
    --under_way_;
    begin_waiting();
  } else {
    std::erase(waiting_, number);
  }
}

// ---- libcurl asks --------------------------------------------------------------------------------------------------

int HttpClient::on_timer(CURLM*, long timeout_ms, void* pointer) {
  auto& self = *static_cast<HttpClient*>(pointer);
  if (timeout_ms < 0) {
    self.timer_.cancel();
    return 0;
  }
  self.timer_.expires_after(std::chrono::milliseconds(timeout_ms));
  self.timer_.async_wait([&self, alive = std::weak_ptr(self.alive_)](boost::system::error_code error) {
    if (!error && !alive.expired()) self.act(CURL_SOCKET_TIMEOUT, 0);
  });
  return 0;
}

int HttpClient::on_socket(CURL*, curl_socket_t descriptor, int what, void* pointer, void*) {
  auto& self = *static_cast<HttpClient*>(pointer);
  auto found = self.sockets_.find(descriptor);
  if (what == CURL_POLL_REMOVE) {
    if (found == self.sockets_.end()) return 0;
    found->second->gone = true;
    found->second->descriptor.release();
    self.sockets_.erase(found);
    return 0;
  }
  if (found == self.sockets_.end()) {
    auto socket = std::make_shared<Socket>(self.executor_);
    boost::system::error_code error;
    if (socket->descriptor.assign(descriptor, error)) return -1;
    found = self.sockets_.emplace(descriptor, std::move(socket)).first;
  }
  found->second->wanted = what;
  self.watch(found->second);
  return 0;
}

// ---- the loop calls back -------------------------------------------------------------------------------------------

void HttpClient::watch(const std::shared_ptr<Socket>& socket) {
  for (int direction : {CURL_POLL_IN, CURL_POLL_OUT})
    if ((socket->wanted & direction) != 0 && (socket->waiting & direction) == 0) wait_for(socket, direction);
}

void HttpClient::wait_for(const std::shared_ptr<Socket>& socket, int direction) {
  using Descriptor = asio::posix::stream_descriptor;
  socket->waiting |= direction;
  bool in = direction == CURL_POLL_IN;
  socket->descriptor.async_wait(
      in ? Descriptor::wait_read : Descriptor::wait_write,
      [this, alive = std::weak_ptr(alive_), socket, direction, in](boost::system::error_code error) {
        socket->waiting &= ~direction;
        if (error || alive.expired() || socket->gone) return;
        act(socket->descriptor.native_handle(), in ? CURL_CSELECT_IN : CURL_CSELECT_OUT);
        if (!alive.expired() && !socket->gone) watch(socket);
      });
}

void HttpClient::act(curl_socket_t descriptor, int mask) {
  int running = 0;
  curl_multi_socket_action(multi_, descriptor, mask, &running);
  collect();
}

/// Whoever is told may start and cancel others, those included that are done and not told yet.
void HttpClient::collect() {
  std::vector<Number> done;
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURLcode code = message->data.result;
    Transfer* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    finish(*transfer, code);
    done.push_back(transfer->number);
  }
  begin_waiting();
  for (Number number : done) {
    auto found = transfers_.find(number);
    if (found == transfers_.end()) continue;
    auto tell = std::move(found->second->done);
    HttpResult result = std::move(found->second->result);
    transfers_.erase(found);
    tell(std::move(result));
  }
}

void HttpClient::finish(Transfer& transfer, CURLcode code) {
  long status = 0;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(transfer.easy, CURLINFO_RETRY_AFTER, &retry_after);
  HttpResult& result = transfer.result;
  result.status = static_cast<int>(status);
  if (retry_after > 0) result.retry_after = std::chrono::seconds(retry_after);
  if (code != CURLE_OK && !transfer.cut_off)
    result.error = transfer.error[0] != '\0' ? transfer.error : curl_easy_strerror(code);
  result.hopeless = status == 0 && (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL);
  curl_multi_remove_handle(multi_, transfer.easy);
  transfer.under_way = false;
  --under_way_;
}

}  // namespace bulkhead
