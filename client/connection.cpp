// Each request is set up anew on one easy handle, so that a connection is kept from one to the next. The transfer runs
// in curl's multi interface, whose wait also looks at the signals, at the deadline, and at what Beside names.
//
// An answer that only trickles, or stays out, is given up after a minute of silence; a stream of events is never silent
// for so long, and a waiting request is answered sooner.

#include "client/connection.hpp"

#include <curl/curl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace bulkhead::client {

using std::chrono::duration_cast;

namespace {

constexpr std::size_t kMostAnswer = 256 << 20;  // an endpoint gives at most 20 MiB unless it is told otherwise
constexpr long kConnectMs = 10'000;
constexpr long kSilenceS = 60;

std::system_error out_of(const char* what) { return {ENOMEM, std::generic_category(), what}; }

/// Where the bytes of an answer go.
struct Sink {
  CURL* easy;
  Answer& answer;
  const Connection::Take& take;
};

std::size_t on_bytes(char* data, std::size_t, std::size_t size, void* user) {
  auto& sink = *static_cast<Sink*>(user);
  long status = 0;
  curl_easy_getinfo(sink.easy, CURLINFO_RESPONSE_CODE, &status);
  if (status == 200 && sink.take) {
    sink.take({data, size});
    return size;
  }
  if (sink.answer.body.size() + size > kMostAnswer) return 0;  // curl: a write error
  sink.answer.body.append(data, size);
  return size;
}

Lost lost(CURLcode code, const char* detail) {
  Lost lost{.why = Lost::Why::Broken, .text = *detail != '\0' ? detail : curl_easy_strerror(code)};
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT: lost.why = Lost::Why::Unreachable; break;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_WRITE_ERROR: lost.why = Lost::Why::Unsuited; break;
    default: break;
  }
  return lost;
}

}  // namespace

struct Connection::Handles {
  CURLM* multi = nullptr;
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  char error[CURL_ERROR_SIZE] = "";

  Handles() {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    multi = curl_multi_init();
    easy = curl_easy_init();
  }
  ~Handles() {
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
    curl_slist_free_all(headers);
    curl_global_cleanup();
  }
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;

  void header(const std::string& line) {
    curl_slist* longer = curl_slist_append(headers, line.c_str());
    if (longer == nullptr) throw out_of("curl_slist_append");
    headers = longer;
  }
};

Connection::Connection(const Address& address, const std::string& api_key, Interrupts& interrupts)
    : address_(address), api_key_(api_key), interrupts_(interrupts), handles_(std::make_unique<Handles>()) {
  if (handles_->multi == nullptr || handles_->easy == nullptr) throw out_of("libcurl");
}

Connection::~Connection() = default;

std::variant<Answer, Lost> Connection::send(const Request& request, Clock::time_point deadline, const Take& take) {
  CURL* easy = handles_->easy;
  curl_easy_reset(easy);
  curl_slist_free_all(std::exchange(handles_->headers, nullptr));
  for (const std::string& line : request.headers) handles_->header(line);
  if (!api_key_.empty()) handles_->header("Authorization: Bearer " + api_key_);
  if (request.post) handles_->header("Content-Type: application/json");

  Answer answer;
  Sink sink{easy, answer, take};
  handles_->error[0] = '\0';
  curl_easy_setopt(easy, CURLOPT_URL, (address_.base + request.path).c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "bulkhead");
  if (!address_.socket.empty()) curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, address_.socket.c_str());
  if (address_.local) curl_easy_setopt(easy, CURLOPT_PROXY, "");
  if (request.post) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  }
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, handles_->headers);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &sink);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, handles_->error);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, kConnectMs);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, kSilenceS);

  if (curl_multi_add_handle(handles_->multi, easy) != CURLM_OK) throw out_of("curl_multi_add_handle");
  auto end = perform(deadline);
  curl_multi_remove_handle(handles_->multi, easy);
  if (end) return std::move(*end);
  curl_off_t retry_after = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &answer.status);
  curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after);
  answer.retry_after_s = static_cast<long>(std::min<curl_off_t>(retry_after, 3600));
  return answer;
}

/// Calls Beside::look where it is due.
bool Connection::look(bool readable) {
  if (!beside_.look) return true;
  auto now = Clock::now();
  bool due = beside_.every.count() > 0 && now - looked_ >= beside_.every;
  if (!readable && !due) return true;
  looked_ = now;
  return beside_.look();
}

bool Connection::pause(milliseconds time) {
  const auto end = Clock::now() + time;
  for (;;) {
    if (interrupts_.signal() != 0) return true;
    auto left = duration_cast<milliseconds>(end - Clock::now()).count();
    if (left <= 0) return true;
    std::vector<pollfd> all{{.fd = interrupts_.descriptor(), .events = POLLIN, .revents = 0}};
    for (int fd : beside_.descriptors) all.push_back({.fd = fd, .events = POLLIN, .revents = 0});
    auto longest = beside_.every.count() > 0 ? beside_.every.count() : 60'000;
    poll(all.data(), all.size(), static_cast<int>(std::min<std::int64_t>(left, longest)));
    bool readable = std::any_of(all.begin() + 1, all.end(), [](const pollfd& fd) { return fd.revents != 0; });
    if (!look(readable)) return false;
  }
}

/// Runs the transfer to its end; how it was lost, if it was.
std::optional<Lost> Connection::perform(Clock::time_point deadline) {
  int running = 1;
  while (running > 0) {
    if (curl_multi_perform(handles_->multi, &running) != CURLM_OK) return Lost{.text = "libcurl gave up"};
    if (running == 0) break;
    auto left = duration_cast<milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return Lost{.why = Lost::Why::Deadline, .text = "no answer in time"};
    std::vector<curl_waitfd> others{{.fd = interrupts_.descriptor(), .events = CURL_WAIT_POLLIN, .revents = 0}};
    for (int fd : beside_.descriptors) others.push_back({.fd = fd, .events = CURL_WAIT_POLLIN, .revents = 0});
    auto longest = beside_.every.count() > 0 ? beside_.every.count() : 60'000;
    curl_multi_poll(handles_->multi, others.data(), static_cast<unsigned>(others.size()),
                    static_cast<int>(std::min<std::int64_t>(left + 1, longest)), nullptr);
    if (interrupts_.signal() != 0) return Lost{.why = Lost::Why::Interrupted, .text = "interrupted"};
    bool readable =
        std::any_of(others.begin() + 1, others.end(), [](const curl_waitfd& fd) { return fd.revents != 0; });
    if (!look(readable)) return Lost{.why = Lost::Why::Left, .text = "left"};
  }
  int queued = 0;
  CURLMsg* message = curl_multi_info_read(handles_->multi, &queued);
  if (message == nullptr || message->msg != CURLMSG_DONE) return Lost{.text = "libcurl gave up"};
  if (message->data.result == CURLE_OK) return {};
  return lost(message->data.result, handles_->error);
}

}  // namespace bulkhead::client
