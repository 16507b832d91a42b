#include "supervisor/http/head_parser.hpp"

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace bulkhead::http {

namespace beast = boost::beast;

namespace {

/// What a host and its port are made of (RFC 3986, 3.2). An empty one is for targets that have no host.
bool is_host(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](unsigned char c) {
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return plain || (c != 0 && std::strchr("-._~%!$&'()*+,;=:[]", c) != nullptr);
  });
}

/// An address, or a name that nobody can register to lead here: of one word, or under a top level that is kept for such.
bool is_own_name(std::string_view host) {
  if (host.starts_with('[')) return true;
  host = host.substr(0, host.find(':'));
  while (host.ends_with('.')) host.remove_suffix(1);
  if (host.find('.') == std::string_view::npos) return true;
  if (host.find_first_not_of("0123456789.") == std::string_view::npos) return true;
  constexpr std::string_view kKept[] = {".localhost", ".local", ".internal"};
  return std::any_of(std::begin(kKept), std::end(kKept), [&](std::string_view kept) {
    return host.size() > kept.size() && beast::iequals(host.substr(host.size() - kept.size()), kept);
  });
}

}  // namespace

void HeadParser::on_request_impl(verb method, text, text target, int version, error_code&) {
  switch (method) {
    case verb::get: head_.method = Method::Get; break;
    case verb::post: head_.method = Method::Post; break;
    case verb::head: head_.method = Method::Head; break;
    case verb::options: head_.method = Method::Options; break;
    default: head_.method = Method::Other;
  }
  head_.target.assign(target.data(), target.size());
  head_.http11 = version >= 11;
}

void HeadParser::on_field_impl(field name, text name_text, text value, error_code& ec) {
  if (in_trailer_) {
    trailer_ += name_text.size() + value.size() + 4;  // a colon, a space and the line's end
    if (trailer_ > field_limit_) ec = beast::http::error::header_limit;
    return;
  }
  auto keep = [&](std::string& where) { where.assign(value.data(), value.size()); };
  switch (name) {
    case field::host:
      ++head_.hosts;
      head_.bad_host |= !is_host({value.data(), value.size()});
      head_.foreign_host |= !is_own_name({value.data(), value.size()});
      keep(head_.host);
      break;
    case field::origin: keep(head_.origin); break;
    case field::authorization: keep(head_.authorization); break;
    case field::accept: keep(head_.accept); break;
    case field::accept_encoding: keep(head_.accept_encoding); break;
    case field::if_none_match: keep(head_.if_none_match); break;
    case field::sec_fetch_site:
      // Only browsers send it, and no page can change it. "same-origin" is our own page, "none" the address line.
      head_.cross_site |= value == "cross-site" || value == "same-site";
      break;
    case field::transfer_encoding: head_.strange_encoding |= !beast::iequals(value, "chunked"); break;
    case field::expect:
      if (beast::iequals(value, "100-continue")) {
        head_.expects_continue = true;
      } else {
        keep(head_.forwarded_expect);
      }
      break;
    case field::unknown:
      if (beast::iequals(name_text, "Idempotency-Key")) keep(head_.idempotency_key);
      if (beast::iequals(name_text, "Last-Event-ID")) keep(head_.last_event_id);
      if (beast::iequals(name_text, "traceparent")) keep(head_.traceparent);
      break;
    default: break;
  }
}

void HeadParser::on_header_impl(error_code&) {
  in_trailer_ = true;
  head_.chunked = chunked();
  head_.keep_alive = keep_alive();
  // Browsers say Sec-Fetch-Site only to those they trust by name or scheme; Origin they send with every POST of a page.
  const std::size_t scheme = head_.origin.find("://");
  if (!head_.origin.empty())
    head_.cross_site |=
        scheme == std::string::npos || !beast::iequals(std::string_view(head_.origin).substr(scheme + 3), head_.host);
  if (auto length = content_length()) head_.content_length = *length;
}

void HeadParser::on_chunk_header_impl(std::uint64_t size, text extensions, error_code& ec) {
  if (extensions.size() > field_limit_) ec = beast::http::error::header_limit;
  announced_ += size;
  if (size > chunk_limit_ || announced_ > chunk_limit_) ec = beast::http::error::body_limit;
}

std::size_t HeadParser::on_chunk_body_impl(std::uint64_t, text body, error_code&) {
  chunks_.append(body.data(), body.size());
  return body.size();
}

}  // namespace bulkhead::http
