#include "supervisor/observe/journal_sink.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <system_error>

#include <spdlog/sinks/base_sink.h>

namespace bulkhead::observe {
namespace {

constexpr char kSocket[] = "/run/systemd/journal/socket";
/// A datagram of this size fits the socket's default buffer (net.core.wmem_default, 208 KiB) with room to spare.
constexpr std::size_t kLongest = 100'000;

class JournalSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  JournalSink() : socket_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    if (socket_ < 0) throw std::system_error(errno, std::generic_category(), "socket");
    // Tests have another.
    const char* given = std::getenv("BULKHEAD_JOURNAL_SOCKET");
    std::string_view path = given != nullptr ? given : kSocket;
    address_.sun_family = AF_UNIX;
    path.copy(address_.sun_path, sizeof address_.sun_path - 1);
  }
  ~JournalSink() override { close(socket_); }
  JournalSink(const JournalSink&) = delete;
  JournalSink& operator=(const JournalSink&) = delete;

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    sendto(socket_, message.payload.data(), message.payload.size(), MSG_NOSIGNAL,
           reinterpret_cast<const sockaddr*>(&address_), sizeof address_);
  }
  void flush_() override {}

  int socket_;
  sockaddr_un address_{};
};

}  // namespace

void append_journal_field(std::string& entry, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  value = value.substr(0, kLongest);
  entry += name;
  if (value.find('\n') == std::string_view::npos) {
    ((entry += '=') += value) += '\n';
    return;
  }
  // Several lines: the length comes first, in eight bytes, the lowest first.
  entry += '\n';
  for (int shift = 0; shift < 64; shift += 8) entry += static_cast<char>(std::uint64_t{value.size()} >> shift & 0xFF);
  (entry += value) += '\n';
}

std::shared_ptr<spdlog::sinks::sink> journal_sink() { return std::make_shared<JournalSink>(); }

}  // namespace bulkhead::observe
