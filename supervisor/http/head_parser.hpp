// Beast's parser of HTTP/1, told to keep only what is asked for here: no map of fields, no allocation per request.

#pragma once

#include <boost/beast/http/basic_parser.hpp>

#include <string>

#include "supervisor/http/exchange.hpp"

namespace bulkhead::http {

/// Fills a Head. Bodies with a known length never pass through it (the session reads them where they are to stay);
/// chunked ones are taken apart into `chunks`.
class HeadParser final : public boost::beast::http::basic_parser<true> {
 public:
  explicit HeadParser(Head& head) : head_(head) { body_limit(boost::none); }

  /// Chunked bodies beyond `bytes` fail with error::body_limit before their bytes are kept; a chunk's extensions, and a
  /// trailer, beyond `fields` with error::header_limit.
  void limit_chunks(std::size_t bytes, std::size_t fields) {
    chunk_limit_ = bytes;
    field_limit_ = fields;
  }
  std::string& chunks() { return chunks_; }
  std::uint64_t announced() const { return announced_; }

 private:
  using error_code = boost::beast::error_code;
  using field = boost::beast::http::field;
  using verb = boost::beast::http::verb;
  using text = boost::beast::string_view;

  void on_request_impl(verb method, text, text target, int version, error_code& ec) override;
  void on_response_impl(int, text, int, error_code&) override {}
  void on_field_impl(field name, text name_text, text value, error_code& ec) override;
  void on_header_impl(error_code& ec) override;
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(text body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t size, text extensions, error_code& ec) override;
  std::size_t on_chunk_body_impl(std::uint64_t remain, text body, error_code& ec) override;
  void on_finish_impl(error_code&) override {}

  Head& head_;
  bool in_trailer_ = false;  // fields behind a chunked body say nothing
  std::size_t chunk_limit_ = 0;
  std::size_t field_limit_ = 0;
  std::size_t trailer_ = 0;      // bytes of its fields so far
  std::uint64_t announced_ = 0;  // bytes of all chunks so far
  std::string chunks_;
};

}  // namespace bulkhead::http
