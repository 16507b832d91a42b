// A target is split by hand and not decoded: no name here needs an escape, so one that has any names nothing, and what
// looks like a way around ("..", plain or escaped) is not followed.

#include "supervisor/http/routes.hpp"

#include <algorithm>
#include <charconv>

namespace bulkhead::http {
namespace {

/// The next non-empty segment of a path.
std::string_view next_segment(std::string_view& path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  std::string_view segment = path.substr(0, path.find('/'));
  path.remove_prefix(segment.size());
  return segment;
}

const Route* find(std::string_view name) {
  for (auto routes :
       {job_routes(), result_routes(), control_routes(), observe_routes(), openai_routes(), page_routes()}) {
    for (const Route& route : routes) {
      if (route.name == name) return &route;
    }
  }
  return nullptr;
}

/// Ids are made of these; anything else cannot name a job.
bool is_id(std::string_view id) {
  if (id.empty() || id.size() > 128) return false;
  for (char c : id) {
    bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
    if (!good) return false;
  }
  return true;
}

constexpr std::string_view kOwnName = "bulkhead";

/// Whether a path is made like a route's; then `id` is what stands in the place of {id}.
bool fits(std::string_view pattern, std::string_view path, std::string_view& id) {
  for (;;) {
    const std::string_view wanted = next_segment(pattern), got = next_segment(path);
    if (wanted != "{id}") {
      if (wanted != got) return false;
      if (wanted.empty()) return true;
    } else {
      if (!is_id(got)) return false;
      id = got;
    }
  }
}

void find_own(Match& match, std::string_view path) {
  for (auto routes : {own_routes(), seen_routes(), listing_routes(), log_routes(), event_routes(), steering_routes()}) {
    for (const Route& route : routes) {
      std::string_view id;
      if (!fits(route.path, path, id)) continue;
      match.route = &route;
      match.id = id;
      return;
    }
  }
}

/// Whether a segment is "." or "..", its dots plain or as %2e: it would lead elsewhere than it says.
bool has_dot_segment(std::string_view path) {
  for (;;) {
    std::string_view segment = next_segment(path);
    if (segment.empty()) return false;
    std::size_t dots = 0;
    while (!segment.empty()) {
      bool encoded = segment.starts_with("%2e") || segment.starts_with("%2E");
      if (!encoded && segment.front() != '.') break;
      segment.remove_prefix(encoded ? 3 : 1);
      ++dots;
    }
    if (segment.empty() && dots <= 2) return true;
  }
}

/// The path of a request's target: of "/path" or "http://host/path", the forms a server is sent; else empty.
std::string_view path_of(std::string_view target) {
  for (std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    std::size_t root = target.find('/');
    return root == std::string_view::npos || root == 0 ? std::string_view() : target.substr(root);
  }
  return target.starts_with('/') ? target : std::string_view();
}

}  // namespace

bool Route::allows(Method method) const {
  switch (method) {
    case Method::Get: return get;
    case Method::Post: return post;
    case Method::Head: return head;
    case Method::Options: return true;
    case Method::Other: return false;
  }
  return false;
}

std::string Route::allowed() const {
  std::string text;
  if (get) text += "GET, ";
  if (head) text += "HEAD, ";
  if (post) text += "POST, ";
  return text + "OPTIONS";
}

std::string Route::shown() const {
  std::string text = "/" + std::string(name);
  if (!path.empty()) (text += '/') += path;
  return text;
}

Match match(std::string_view target) {
  Match match;
  std::string_view path = target.substr(0, target.find('#'));
  if (std::size_t query = path.find('?'); query != std::string_view::npos) {
    match.query = path.substr(query + 1);
    path = path.substr(0, query);
  }
  path = path_of(path);
  if (path.empty()) return match;
  std::string_view name = next_segment(path);
  if (name == "v2") {
    if (!is_id(next_segment(path))) return match;
    name = next_segment(path);
    if (name.empty()) return match;  // the page is at / alone
  }
  match.name = name;
  if (name == kOwnName) {
    find_own(match, path);
    return match;
  }
  const Route* route = find(name);
  if (route == nullptr) return match;
  if (route->has_rest) {
    while (path.starts_with("//")) path.remove_prefix(1);
    match.id = path;
    if (path.size() > 1 && !has_dot_segment(path)) match.route = route;
    return match;
  }
  match.id = next_segment(path);
  bool rest = !next_segment(path).empty();
  bool fits = route->has_id ? is_id(match.id) : match.id.empty();
  if (fits && !rest) match.route = route;
  return match;
}

std::size_t body_limit(const Route& route, const Limits& limits) {
  switch (route.body) {
    case BodyLimit::Run: return limits.run_body;
    case BodyLimit::Runsync: return limits.runsync_body;
    case BodyLimit::Small: break;
  }
  return 64 << 10;  // nothing reads these, but clients send some
}

Problem body_too_large(const Route& route, const Limits& limits, std::uint64_t got) {
  std::string_view more;  // what the operator can do about it
  if (route.body == BodyLimit::Run) more = "; send less, or have --max-run-body raised";
  if (route.body == BodyLimit::Runsync) more = "; send less, or have --max-runsync-body raised";
  return {.status = 413,
          .code = "body_too_large",
          .message = std::string("the request's body is too large").append(more),
          .limit = static_cast<std::int64_t>(body_limit(route, limits)),
          .got = static_cast<std::int64_t>(std::min<std::uint64_t>(got, INT64_MAX))};
}

std::optional<std::string_view> parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    std::size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name) continue;
    return equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
  }
  return {};
}

std::string decoded_parameter(std::string_view query, std::string_view name) {
  std::string text;
  const std::string_view raw = parameter(query, name).value_or("");
  for (std::size_t i = 0; i < raw.size(); ++i) {
    unsigned value = 0;
    const char* digits = raw.data() + i + 1;
    const bool escape =
        raw[i] == '%' && i + 2 < raw.size() && std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2;
    text += escape ? static_cast<char>(value) : raw[i] == '+' ? ' ' : raw[i];
    if (escape) i += 2;
  }
  return text;
}

bool may_tell(const Api& api, Exchange& exchange) {
  if (api.onlooker == nullptr) {
    exchange.send(unknown_path(kOwnName));
    return false;
  }
  if (api.tells_all) return true;
  exchange.send(Problem{.status = 403,
                        .code = "keys_needed",
                        .message =
                            "what is in jobs is not shown to everybody who reaches this address: set API keys, or "
                            "ask on an address of this machine's own"});
  return false;
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

Problem unknown_path(std::string_view name) {
  std::string message = "there is nothing at this path; try /run, /runsync, /status/{id} or /health";
  if (name == "batch") message = "batches of jobs (/batch) are not offered here; send each job by /run";
  if (name == kOwnName) message = "there is nothing at this path; /openapi.json has all that begin with /bulkhead";
  return {.status = 404, .code = "unknown_path", .message = std::move(message)};
}

Problem refused(const Accepted& accepted) {
  switch (accepted.refusal) {
    case Refusal::Full: return {.status = 429, .code = "queue_full", .message = accepted.reason, .retry_after = 1};
    case Refusal::Duplicate: return {.status = 409, .code = "duplicate", .message = accepted.reason};
    case Refusal::Draining: return {.status = 503, .code = "draining", .message = accepted.reason, .retry_after = 5};
    case Refusal::StoreUnavailable:
      return {.status = 503, .code = "store_unavailable", .message = accepted.reason, .retry_after = 5};
    case Refusal::Quarantined: return {.status = 409, .code = "quarantined", .message = accepted.reason};
    case Refusal::NotFailed: return {.status = 409, .code = "not_failed", .message = accepted.reason};
    case Refusal::None: break;
  }
  return {.status = 500, .code = "internal", .message = "refused without a reason"};
}

}  // namespace bulkhead::http
