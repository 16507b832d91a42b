// /bulkhead/logs: the log's last lines, one JSON object a line, and with follow=1 those that are written from then on.
//
// A reader is given a piece, and the next one when it has taken that; meanwhile the ring of lines goes on without it. So
// nothing is kept for a reader, and one that comes back too late is told how many lines it has lost. Readers that wait are
// told of new lines a moment after the first, so that a flood of lines is told in pieces too.

#include <algorithm>
#include <array>
#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "supervisor/http/waiting.hpp"
#include "supervisor/observe/lines.hpp"

namespace bulkhead::http {
namespace {

constexpr std::int64_t kMostLines = static_cast<std::int64_t>(observe::Lines::kMostLines);
constexpr std::int64_t kUsualLines = 1000;
constexpr std::size_t kMostBytes = 1 << 20;     // of one answer; `after` gives what follows
constexpr std::size_t kLineBytes = 200;         // of a line beside its text, about; and an eighth of that for escapes
constexpr std::size_t kPieceBytes = 128 << 10;  // of what a follower is given at once
constexpr milliseconds kGather{50};

struct Wanted {
  std::string job, worker;
  std::optional<std::uint64_t> after;
  std::size_t limit = static_cast<std::size_t>(kUsualLines);
  bool follow = false;

  bool takes(const observe::Lines::Line& line) const {
    return (job.empty() || line.job == job) && (worker.empty() || is_of_worker(line.worker, worker));
  }
};

/// None after a refusal was sent.
std::optional<Wanted> wanted_of(Exchange& exchange) {
  const std::string_view query = exchange.query();
  Wanted wanted{.job = decoded_parameter(query, "job"), .worker = decoded_parameter(query, "worker")};
  if (auto text = parameter(query, "after")) {
    const auto number = whole_number(*text);
    if (!number || *number < 0) {
      exchange.send(
          Problem{.code = "invalid_request", .message = "after must be the `seq` of a line; 0: all there are"});
      return std::nullopt;
    }
    wanted.after = static_cast<std::uint64_t>(*number);
  }
  if (auto text = parameter(query, "limit")) {
    const auto number = whole_number(*text);
    if (!number || *number < 0 || *number > kMostLines) {
      exchange.send(Problem{.code = "invalid_request",
                            .message = "limit must be 0 to 10000: so many lines are kept; `after` gives later ones",
                            .limit = kMostLines,
                            .got = number});
      return std::nullopt;
    }
    wanted.limit = static_cast<std::size_t>(*number);
  }
  const std::string_view follow = parameter(query, "follow").value_or("0");
  wanted.follow = follow == "1" && exchange.head().method == Method::Get;
  if (follow == "0" || follow == "1") return wanted;
  exchange.send(Problem{.code = "invalid_request", .message = "follow must be 0 or 1"});
  return std::nullopt;
}

void write_line(Reply& reply, const observe::Lines::Line& line) {
  reply.raw("{\"seq\":").number(static_cast<std::int64_t>(line.number)).raw(",\"at\":").number(line.at_ms);
  reply.raw(",\"level\":").string(line.level).raw(",\"job\":").string(line.job).raw(",\"worker\":").string(line.worker);
  reply.raw(",\"stream\":").string(line.stream).raw(",\"text\":").string(line.text).raw("}\n");
}

/// Where somebody begins to read: behind the line that is known, or so that the last `limit` lines come.
std::uint64_t start_of(const observe::Lines& lines, const Wanted& wanted) {
  // A number below all that were ever here is one of an earlier supervisor's; so is one beyond all, if the clock was set back.
  if (wanted.after && *wanted.after > lines.last()) return lines.first();
  if (wanted.after) return std::max(lines.begin(), *wanted.after + 1);
  std::uint64_t start = lines.last() + 1;
  std::size_t found = 0, bytes = 0;
  for (std::uint64_t number = lines.last(); number >= lines.first() && found < wanted.limit; --number) {
    const auto line = lines.at(number);
    if (!wanted.takes(line)) continue;
    if (bytes += line.text.size() + line.text.size() / 8 + kLineBytes; bytes > kMostBytes) break;
    ++found;
    start = number;
  }
  return start;
}

/// Writes lines from `next` on, and where the next piece begins; a piece ends behind `limit` lines, or `size` bytes.
void write_lines(Reply& reply, const observe::Lines& lines, const Wanted& wanted, std::uint64_t& next,
                 std::size_t limit, std::size_t size) {
  if (next < lines.first()) {
    reply.raw("{\"lost\":").number(static_cast<std::int64_t>(lines.first() - next)).raw("}\n");
    next = lines.first();
  }
  for (std::size_t written = 0; next <= lines.last() && written < limit && reply.body_size() < size; ++next) {
    const auto line = lines.at(next);
    if (!wanted.takes(line)) continue;
    write_line(reply, line);
    ++written;
  }
}

/// One client's reading on. Held by whoever calls it next: the lines, its timer, or the session when the last piece is taken.
class LogReader : public std::enable_shared_from_this<LogReader> {
 public:
  LogReader(Api& api, Exchange& exchange, Wanted wanted)
      : lines_(api.onlooker->lines()),
        exchange_(exchange.shared_from_this()),
        wanted_(std::move(wanted)),
        next_(start_of(lines_, wanted_)),
        timer_(api.executor) {}

  void begin() {
    exchange_->when_gone([self = shared_from_this()] {
      self->lines_.stop_waiting(self->waiter_);
      self->timer_.cancel();
      self->gone_ = true;
    });
    exchange_->reply();
    exchange_->begin_pieces(kEndlessLines);
    give();
  }

 private:
  /// Even nothing: the first time it is the answer's header.
  void give() {
    write_lines(exchange_->reply(), lines_, wanted_, next_, SIZE_MAX, kPieceBytes);
    exchange_->send_events([self = shared_from_this()] { self->go_on(); });
  }

  void go_on() {
    if (gone_) return;
    for (; next_ >= lines_.first() && next_ <= lines_.last(); ++next_)
      if (wanted_.takes(lines_.at(next_))) break;
    if (next_ <= lines_.last()) return give();
    waiter_ = lines_.wait([self = shared_from_this()] {
      self->timer_.expires_after(kGather);
      self->timer_.async_wait([self](const boost::system::error_code& error) {
        if (!error) self->go_on();
      });
    });
  }

  observe::Lines& lines_;
  std::shared_ptr<Exchange> exchange_;
  Wanted wanted_;
  std::uint64_t next_;
  boost::asio::steady_timer timer_;
  std::uint64_t waiter_ = 0;
  bool gone_ = false;
};

void logs(Api& api, Exchange& exchange) {
  if (!may_tell(api, exchange)) return;
  auto wanted = wanted_of(exchange);
  if (!wanted) return;
  if (wanted->follow) return std::make_shared<LogReader>(api, exchange, std::move(*wanted))->begin();
  const observe::Lines& lines = api.onlooker->lines();
  std::uint64_t next = start_of(lines, *wanted);
  Reply& reply = exchange.reply().type(kEndlessLines.type);
  write_lines(reply.header("Cache-Control", "no-store"), lines, *wanted, next, wanted->limit, kMostBytes);
  exchange.send();
}

constexpr std::array kRoutes{
    Route{.name = "bulkhead", .path = "logs", .get = true, .head = true, .watches = true, .handle = logs},
};

}  // namespace

std::span<const Route> log_routes() { return kRoutes; }

}  // namespace bulkhead::http
