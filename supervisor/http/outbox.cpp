#include "supervisor/http/outbox.hpp"

#include <algorithm>
#include <charconv>

namespace bulkhead::http {
namespace {

class Digits {
 public:
  explicit Digits(std::size_t value, int base = 10)
      : end_(std::to_chars(digits_, digits_ + sizeof digits_, value, base).ptr) {}
  std::string_view text() const { return {digits_, static_cast<std::size_t>(end_ - digits_)}; }

 private:
  char digits_[24];
  char* end_;
};

}  // namespace

void Outbox::text(std::string_view bytes) {
  if (bytes.empty()) return;
  text_ += bytes;
  size_ += bytes.size();
  bool extends = segments_.size() > first_ && segments_.back().payload.empty();
  if (extends) {
    segments_.back().size += bytes.size();
  } else {
    segments_.push_back({bytes.size(), {}});
  }
}

void Outbox::payload(const Payload& payload) {
  if (payload.empty()) return;
  size_ += payload.size();
  segments_.push_back({payload.size(), payload});
}

void Outbox::status_line(const Reply& reply, std::string_view date) {
  text("HTTP/1.1 ");
  text(Digits(static_cast<std::size_t>(reply.status())).text());
  text(" ");
  text(reason_phrase(reply.status()));
  text("\r\nDate: ");
  text(date);
}

void Outbox::body(const Reply& reply) {
  std::string_view all = reply.text();
  std::size_t at = 0;
  for (const JsonText::Splice& splice : reply.splices()) {
    text(all.substr(at, splice.at - at));
    payload(splice.payload);
    at = splice.at;
  }
  text(all.substr(at));
}

void Outbox::reply(const Reply& reply, std::string_view date, bool http11, bool keep_alive, bool with_body) {
  status_line(reply, date);
  if (reply.status() != 204 && reply.status() != 304) {
    text("\r\nContent-Type: ");
    text(reply.type());
    text("\r\nContent-Length: ");
    text(Digits(reply.body_size()).text());
  }
  if (!keep_alive) {
    text("\r\nConnection: close");
  } else if (!http11) {
    text("\r\nConnection: keep-alive");
  }
  text("\r\n");
  text(reply.headers());
  text("\r\n");
  if (with_body) body(reply);
}

void Outbox::pieces_head(const Reply& reply, std::string_view date, std::string_view type, bool chunked,
                         bool keep_alive) {
  status_line(reply, date);
  // The last one tells nginx, which would otherwise hold events back.
  text("\r\nContent-Type: ");
  text(type);
  text("\r\nCache-Control: no-store\r\nX-Accel-Buffering: no");
  if (chunked) text("\r\nTransfer-Encoding: chunked");
  if (!keep_alive) text("\r\nConnection: close");
  text("\r\n");
  text(reply.headers());
  text("\r\n");
}

void Outbox::piece(const Reply& reply, bool chunked) {
  if (reply.body_size() == 0) return;  // an empty chunk would be the end
  if (chunked) {
    text(Digits(reply.body_size(), 16).text());
    text("\r\n");
  }
  body(reply);
  if (chunked) text("\r\n");
}

void Outbox::last_piece(bool chunked) {
  if (chunked) text("0\r\n\r\n");
}

const std::vector<boost::asio::const_buffer>& Outbox::buffers() {
  constexpr std::size_t kMost = 64;  // Asio's own limit for one call
  buffers_.clear();
  std::size_t text_at = text_sent_;
  for (std::size_t i = first_; i < segments_.size() && buffers_.size() < kMost; ++i) {
    const Segment& segment = segments_[i];
    std::size_t skip = i == first_ ? first_sent_ : 0;
    const char* data = segment.payload.empty() ? text_.data() + text_at : segment.payload.bytes().data() + skip;
    if (segment.payload.empty()) text_at += segment.size - skip;
    buffers_.emplace_back(data, segment.size - skip);
  }
  return buffers_;
}

void Outbox::sent(std::size_t count) {
  size_ -= count;
  while (count > 0) {
    Segment& segment = segments_[first_];
    std::size_t part = std::min(count, segment.size - first_sent_);
    if (segment.payload.empty()) text_sent_ += part;
    first_sent_ += part;
    count -= part;
    if (first_sent_ < segment.size) return;
    segment.payload = {};  // let go of it now, not when all is out
    ++first_;
    first_sent_ = 0;
  }
  if (first_ == segments_.size()) {
    segments_.clear();
    text_.clear();
    first_ = text_sent_ = 0;
  }
}

}  // namespace bulkhead::http
