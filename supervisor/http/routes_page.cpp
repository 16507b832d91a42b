// GET /: the page for people who look, and /page/…, what it is made of. Nothing in it is secret, so no key is asked for; what
// it shows it fetches by the routes that want one. A browser keeps the files and asks each time whether they are still right.

#include <boost/beast/core/string.hpp>

#include <algorithm>
#include <array>

#include "supervisor/http/page.hpp"
#include "supervisor/http/routes.hpp"

namespace bulkhead::http {
namespace {

/// Only from here, nothing inline, in nobody's frame.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

/// Calls `each` for the parts of a list in a header field, until it says true; whether it did.
template <class Each>
bool any_of_list(std::string_view list, Each each) {
  while (!list.empty()) {
    std::string_view part = list.substr(0, list.find(','));
    list.remove_prefix(std::min(part.size() + 1, list.size()));
    if (each(trimmed(part))) return true;
  }
  return false;
}

/// Whether a client takes gzip. One that weighs it takes it, whatever the weight: only 0 means no.
bool takes_gzip(std::string_view accept_encoding) {
  return any_of_list(accept_encoding, [](std::string_view coding) {
    std::string_view name = trimmed(coding.substr(0, coding.find(';')));
    std::string_view weight = coding.substr(std::min(coding.find(';'), coding.size()));
    bool refused =
        weight.find("q=0") != std::string_view::npos && weight.find_first_of("123456789") == std::string_view::npos;
    return boost::beast::iequals({name.data(), name.size()}, "gzip") && !refused;
  });
}

bool has_it(std::string_view if_none_match, std::string_view tag) {
  return any_of_list(if_none_match, [&](std::string_view known) {
    if (known.starts_with("W/")) known.remove_prefix(2);
    return known == "*" || known == tag;
  });
}

void send_file(Exchange& exchange, const PageFile& file) {
  const bool known = has_it(exchange.head().if_none_match, file.tag);
  const bool packed = !file.packed.empty() && takes_gzip(exchange.head().accept_encoding);
  Reply& reply = exchange.reply(known ? 304 : 200);
  reply.type(file.type);
  reply.header("ETag", std::string("W/").append(file.tag));  // the same for both codings
  reply.header("Cache-Control", "no-cache");
  reply.header("Vary", "Accept-Encoding");
  reply.header("Content-Security-Policy", kPolicy);
  reply.header("X-Content-Type-Options", "nosniff");
  reply.header("X-Frame-Options", "DENY");
  reply.header("Referrer-Policy", "no-referrer");
  reply.header("Cross-Origin-Resource-Policy", "same-origin");
  if (!known && packed) reply.header("Content-Encoding", "gzip");
  // The bytes are the program's own: nobody has to keep them alive.
  if (!known) reply.payload(Payload(nullptr, packed ? file.packed : file.bytes));
  exchange.send();
}

const PageFile* find_file(std::string_view name) {
  for (const PageFile& file : page_files()) {
    if (file.name == name) return &file;
  }
  return nullptr;
}

void page(Api&, Exchange& exchange) { send_file(exchange, *find_file("index.html")); }

void part(Api&, Exchange& exchange) {
  const PageFile* file = find_file(exchange.id().substr(1));  // behind the slash
  if (file == nullptr)
    return exchange.send(
        Problem{.status = 404, .code = "unknown_path", .message = "the page has no part of this name"});
  send_file(exchange, *file);
}

constexpr std::array kRoutes{
    Route{.name = "", .get = true, .head = true, .open = true, .handle = page},
    Route{.name = "page", .has_rest = true, .get = true, .head = true, .open = true, .handle = part},
};

}  // namespace

std::span<const Route> page_routes() { return kRoutes; }

}  // namespace bulkhead::http
