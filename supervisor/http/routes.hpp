// Which request goes where. Every path works bare and under /v2/{endpoint}, with any endpoint's name: a client that
// was written for RunPod changes its base URL and nothing else.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "supervisor/http/exchange.hpp"
#include "supervisor/http/ids.hpp"
#include "supervisor/job/ports.hpp"
#include "supervisor/observe/onlooker.hpp"

namespace bulkhead::http {

struct Limits {
  std::size_t run_body = 10 << 20;
  std::size_t runsync_body = 20 << 20;
  std::size_t header = 16 << 10;
  std::size_t connections = 1024;
  milliseconds request{60'000};  ///< for a request to arrive, and for a client to take the next part of an answer
  milliseconds idle{120'000};    ///< of a connection between two requests
};

/// What may be said to the supervisor as a whole; what is empty is not offered.
struct Steering {
  /// No new jobs; it ends when the running ones have. Returns why that cannot be now; empty: it is begun.
  std::function<std::string()> drain;
  /// So many workers from now on. Returns how many it was to be before; none: it is ending.
  std::function<std::optional<int>(int workers)> scale;
};

class Upgrades;

/// What the routes work with.
struct Api {
  Endpoint& endpoint;
  const Clock& clock;
  Ids ids;
  Limits limits;
  Policy default_policy;
  observe::Onlooker* onlooker = nullptr;  ///< none: nothing is shown
  /// Jobs with what is in them, and lines of the log, are shown. Not to everybody: where others than this machine may look
  /// without keys it is false.
  bool tells_all = true;
  boost::asio::any_io_executor executor;  ///< the loop's, for timers
  /// While the endpoint or the onlooker answers: why what was asked for is not in the answer, if that is because the journal
  /// could not be read. Not set, or empty: it is not there.
  std::function<std::string()> unreadable;
  Steering steering;
  Upgrades* upgrades = nullptr;  ///< none: nobody can be asked for one
  bool handing_over = false;     ///< whoever follows a job shall come again
};

enum class BodyLimit : std::uint8_t { Small, Run, Runsync };

struct Route {
  std::string_view name;  ///< the path's first part
  std::string_view path;  ///< and what follows, part for part, with {id} where a job's id stands: "dead/{id}/retry"
  bool has_id = false;    ///< a job's id is the second
  bool has_rest = false;  ///< anything may follow; it is the id
  bool get = false;
  bool post = false;
  bool head = false;  ///< HEAD too: only where looking changes nothing and does not wait
  BodyLimit body = BodyLimit::Small;
  bool open = false;     ///< needs no key, and is answered when there are too many connections
  bool watches = false;  ///< of those that only look: there is no endpoint behind it
  void (*handle)(Api&, Exchange&) = nullptr;

  bool allows(Method method) const;
  /// "GET, POST, OPTIONS": the Allow field.
  std::string allowed() const;
  /// "/bulkhead/dead/{id}/retry": for people.
  std::string shown() const;
};

struct Match {
  const Route* route = nullptr;  ///< none: 404
  std::string_view name;         ///< the path's first part, behind /v2/{endpoint}
  std::string_view id;
  std::string_view query;
};

/// Takes origin form, absolute form (what proxies send) and empty segments ("//run").
Match match(std::string_view target);

std::size_t body_limit(const Route& route, const Limits& limits);
/// The refusal of a body of `got` bytes, or of what was announced as that many.
Problem body_too_large(const Route& route, const Limits& limits, std::uint64_t got);

/// The value of a parameter in a query, not decoded; none when it is not there.
std::optional<std::string_view> parameter(std::string_view query, std::string_view name);

/// The same with its escapes undone; empty when it is not there.
std::string decoded_parameter(std::string_view query, std::string_view name);

/// The whole number in a text, none when it is anything else.
std::optional<std::int64_t> whole_number(std::string_view text);

/// Whether `exchange` may be told what is in jobs; false after its refusal was sent.
bool may_tell(const Api& api, Exchange& exchange);

/// 404, for a path that begins with `name` and is none.
Problem unknown_path(std::string_view name);

/// What the endpoint's refusal of a job is over HTTP.
Problem refused(const Accepted& accepted);

// One file per group.
std::span<const Route> job_routes();       // routes_jobs.cpp: run, runsync
std::span<const Route> result_routes();    // routes_results.cpp: status, status-sync, stream
std::span<const Route> control_routes();   // routes_control.cpp: cancel, retry, purge-queue, requests, health
std::span<const Route> observe_routes();   // routes_observe.cpp: metrics, healthz, openapi.json
std::span<const Route> own_routes();       // routes_own.cpp: bulkhead/dead, bulkhead/quarantine
std::span<const Route> seen_routes();      // routes_seen.cpp: bulkhead/snapshot, bulkhead/history
std::span<const Route> listing_routes();   // routes_listing.cpp: bulkhead/jobs
std::span<const Route> log_routes();       // routes_logs.cpp: bulkhead/logs
std::span<const Route> event_routes();     // routes_events.cpp: bulkhead/events
std::span<const Route> steering_routes();  // routes_steering.cpp: bulkhead/drain, bulkhead/scale
std::span<const Route> openai_routes();    // routes_openai.cpp: openai/v1/*
std::span<const Route> page_routes();      // routes_page.cpp: /, page/*

}  // namespace bulkhead::http
