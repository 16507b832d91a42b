// The bytes a connection has to send: text of its own, and payloads that are only referred to.

#pragma once

#include <boost/asio/buffer.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "supervisor/http/reply.hpp"

namespace bulkhead::http {

class Outbox {
 public:
  bool empty() const { return segments_.empty(); }
  std::size_t size() const { return size_; }

  void text(std::string_view bytes);
  void payload(const Payload& payload);
  /// Status line, header and (unless the request was a HEAD) body of an answer.
  void reply(const Reply& reply, std::string_view date, bool http11, bool keep_alive, bool with_body);

  /// Status line and header of an answer in pieces; and a piece, framed as a chunk if `chunked`.
  void pieces_head(const Reply& reply, std::string_view date, std::string_view type, bool chunked, bool keep_alive);
  void piece(const Reply& reply, bool chunked);
  void last_piece(bool chunked);

  /// What to send next: at most one writev's worth. Valid until the next call of any other member.
  const std::vector<boost::asio::const_buffer>& buffers();
  /// So many bytes of it are out.
  void sent(std::size_t count);

 private:
  void status_line(const Reply& reply, std::string_view date);
  void body(const Reply& reply);

  struct Segment {
    std::size_t size;
    Payload payload;  ///< empty: the next `size` bytes of text_
  };

  std::string text_;
  std::size_t text_sent_ = 0;
  std::vector<Segment> segments_;
  std::size_t first_ = 0;       ///< segments before it are out
  std::size_t first_sent_ = 0;  ///< bytes of the first one that are out
  std::size_t size_ = 0;
  std::vector<boost::asio::const_buffer> buffers_;
};

}  // namespace bulkhead::http
