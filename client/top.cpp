// `bulkhead top`: one screen that is drawn anew whenever the endpoint tells of itself (/bulkhead/events, once a second) or
// a key is pressed. The view keeps the last snapshot, what is needed to make rates of two of them, and where the reader has
// scrolled to; the endpoint does not know that anybody looks.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <deque>
#include <utility>

#include "client/console.hpp"
#include "client/endpoint.hpp"
#include "client/events.hpp"
#include "client/overview.hpp"
#include "client/terminal.hpp"
#include "client/verbs.hpp"

namespace bulkhead::client {

using namespace std::chrono_literals;

namespace {

enum class Order : std::uint8_t { Slot, Memory, Cpu, Done, Age };
constexpr std::array<const char*, 5> kOrders{"slot", "memory", "CPU", "jobs done", "age of job"};

double oldest_job(const ChildRow& child) {
  double oldest = -1;
  for (const RunningJob& job : child.jobs) oldest = std::max(oldest, job.age_ms);
  return oldest;
}

double weight(const ChildRow& child, Order order) {
  switch (order) {
    case Order::Slot: return 0;
    case Order::Memory: return child.memory_bytes;
    case Order::Cpu: return child.cpu_seconds.value_or(0);
    case Order::Done: return static_cast<double>(child.jobs_done);
    case Order::Age: return oldest_job(child);
  }
  return 0;
}

/// A value each, the highest as high as a line.
std::string spark_line(const std::vector<double>& values) {
  constexpr std::array kSteps{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  double most = 0;
  for (double value : values) most = std::max(most, value);
  std::string line;
  for (double value : values) {
    auto step = most > 0 ? static_cast<std::size_t>(value / most * (kSteps.size() - 1) + 0.5) : 0;
    line += kSteps[std::min(step, kSteps.size() - 1)];
  }
  return line;
}

class View {
 public:
  explicit View(const Options& options) : options_(options) {}

  void take(const Event& event) {
    if (event.name == "history") {
      if (auto history = history_of(event.data)) history_ = std::move(*history);
    } else if (event.name == "snapshot") {
      auto seen = overview_of(event.data);
      if (!seen) return;
      std::int64_t ended = 0;
      for (const auto& [status, count] : seen->ended) ended += count;
      samples_.push_back({seen->at, ended, seen->own_cpu_seconds});
      // What is called "now" is the last ten seconds.
      while (samples_.size() > 2 && samples_.back().at - samples_.front().at > 10'000) samples_.pop_front();
      if (samples_.back().ended < samples_.front().ended) samples_.erase(samples_.begin(), samples_.end() - 1);
      seen_ = std::move(*seen);
      trouble_.clear();
    }
  }

  /// The address stands above already, and may be long.
  void trouble(const std::string& line) {
    std::string address = options_.address.shown + ": ";
    trouble_ = line.starts_with(address) ? line.substr(address.size()) : line;
  }

  /// False: no more.
  bool press(const std::string& key, std::size_t rows) {
    const std::size_t page = rows > 12 ? rows - 10 : 2;
    if (key == "q" || key == "Q") return false;
    if (key == "s") order_ = static_cast<Order>((static_cast<unsigned>(order_) + 1) % kOrders.size());
    if (key == "j" || key == "down") ++scrolled_;
    if ((key == "k" || key == "up") && scrolled_ > 0) --scrolled_;
    if (key == "page down" || key == " ") scrolled_ += page;
    if (key == "page up") scrolled_ -= std::min(scrolled_, page);
    if (key == "g" || key == "home") scrolled_ = 0;
    if (key == "G" || key == "end") scrolled_ = seen_ ? seen_->children.size() : 0;
    return true;
  }

  std::vector<std::string> lines(std::size_t columns, std::size_t rows) {
    Look look{in_colour(STDOUT_FILENO), columns - 1};
    if (!seen_) return {line_of({{trouble_.empty() ? "asking " + options_.address.shown + " …" : trouble_}}, look)};
    std::vector<std::string> lines = head(look);
    std::size_t room = rows > lines.size() + 2 ? rows - lines.size() - 1 : 1;
    auto table = children().lines(look);
    std::string titles = table.front();
    titles.append(look.width - std::min(look.width, columns_of(titles)), ' ');
    lines.push_back(painted(titles, Colour::Head, look));
    std::size_t count = table.size() - 1;
    std::size_t shown = std::min(room - 1, count);
    scrolled_ = std::min(scrolled_, count - shown);
    for (std::size_t i = 0; i < shown; ++i) lines.push_back(std::move(table[1 + scrolled_ + i]));
    lines.resize(std::max(rows, std::size_t{2}) - 1);
    lines.push_back(foot(shown, count, look));
    return lines;
  }

 private:
  struct Sample {
    std::int64_t at;
    std::int64_t ended;
    double cpu_seconds;
  };

  double seconds() const {
    return samples_.size() < 2 ? 0 : static_cast<double>(samples_.back().at - samples_.front().at) / 1e3;
  }

  Table children() {
    std::stable_sort(seen_->children.begin(), seen_->children.end(), [this](const ChildRow& a, const ChildRow& b) {
      return order_ == Order::Slot ? std::pair(a.slot, a.pid) < std::pair(b.slot, b.pid)
                                   : weight(a, order_) > weight(b, order_);
    });
    return child_table(*seen_);
  }

  std::vector<std::string> head(const Look& look) const {
    std::vector<Cell> first{{"bulkhead " + seen_->version, Colour::Strong}, {"  " + options_.address.shown + "  "}};
    for (const Cell& cell : phase_cells(*seen_)) first.push_back(cell);
    first.push_back({"  " + time_of_day(seen_->at, false), Colour::Faint});

    std::vector<double> rates;
    std::size_t from = history_.intervals.size() > 30 ? history_.intervals.size() - 30 : 0;
    for (std::size_t i = from; i < history_.intervals.size(); ++i) rates.push_back(history_.intervals[i].ended());
    double now = seconds() > 0 ? static_cast<double>(samples_.back().ended - samples_.front().ended) / seconds() : 0;
    std::vector<Cell> rate{{"rate  "}, {readable_rate(now) + "/s", Colour::Strong}};
    if (!rates.empty()) {
      auto span = history_.interval_ms * static_cast<double>(rates.size());
      rate.push_back({"  " + spark_line(rates), Colour::Busy});
      rate.push_back({"  the last " + readable_time(span), Colour::Faint});
    }

    const Figures& hour = history_.hour;
    std::string times = "hour  " + std::to_string(static_cast<std::int64_t>(hour.ended())) + " ended";
    times += "  waited p50 " + readable_time(hour.wait_p50_ms) + " p95 " + readable_time(hour.wait_p95_ms);
    times += "  ran p50 " + readable_time(hour.run_p50_ms) + " p95 " + readable_time(hour.run_p95_ms);
    return {line_of(first, look),
            line_of(job_cells(*seen_), look),
            line_of(rate, look),
            line_of({{times}}, look),
            line_of(own(), look),
            line_of(restarts(), look),
            ""};
  }

  std::vector<Cell> own() const {
    std::vector<Cell> cells{{"self  " + readable_bytes(seen_->own_memory_bytes)}};
    double span = seconds();
    if (span > 0 && seen_->own_cpu_seconds > 0) {
      double share = (samples_.back().cpu_seconds - samples_.front().cpu_seconds) / span;
      cells.push_back({"  CPU " + readable_rate(std::max(0.0, share * 100)) + "%"});
    }
    if (seen_->journal_kept) cells.push_back({"  journal " + readable_bytes(seen_->journal_bytes)});
    cells.push_back({"  connections " + std::to_string(seen_->connections)});
    if (seen_->webhooks > 0) cells.push_back({"  webhooks " + std::to_string(seen_->webhooks)});
    if (seen_->loop_lag_ms >= 50) cells.push_back({"  held up " + readable_time(seen_->loop_lag_ms), Colour::Bad});
    for (const GpuRow& gpu : seen_->gpus)
      cells.push_back({"  GPU" + std::to_string(gpu.index) + " " + readable_bytes(gpu.used_bytes) + "/" +
                       readable_bytes(gpu.total_bytes)});
    return cells;
  }

  std::vector<Cell> restarts() const {
    std::int64_t all = 0;
    std::string causes;
    for (const auto& [cause, count] : seen_->restarts_by_cause) {
      all += count;
      if (count > 0) causes.append(causes.empty() ? "" : ", ").append(cause + " " + std::to_string(count));
    }
    std::vector<Cell> cells{{"restarts " + std::to_string(all), all > 0 ? Colour::Doubtful : Colour::Plain}};
    if (!causes.empty()) cells.push_back({" (" + causes + ")"});
    if (!seen_->restarts.empty()) {
      const RestartRow& last = seen_->restarts.back();
      cells.push_back({"  last: " + last.child + " " + last.how + ", " +
                       readable_time(static_cast<double>(seen_->at - last.at)) + " ago"});
    }
    return cells;
  }

  std::string foot(std::size_t shown, std::size_t count, const Look& look) const {
    if (!trouble_.empty()) return line_of({{trouble_, Colour::Bad}}, look);
    std::string where = std::to_string(count) + " of " + std::to_string(seen_->wanted + seen_->spares) + " children";
    if (seen_->backing_off > 0) where += ", " + std::to_string(seen_->backing_off) + " backing off";
    if (shown < count)
      where += ", " + std::to_string(scrolled_ + 1) + " to " + std::to_string(scrolled_ + shown) + " shown";
    std::string order = kOrders[static_cast<std::size_t>(order_)];
    return line_of({{where + "   q quit  s sort (" + order + ")  ↑ ↓ scroll", Colour::Faint}}, look);
  }

  const Options& options_;
  std::optional<Overview> seen_;
  History history_;
  std::deque<Sample> samples_;
  std::string trouble_;
  Order order_ = Order::Slot;
  std::size_t scrolled_ = 0;
};

Exit show(const Options& options, Interrupts& interrupts) {
  Terminal terminal;
  View view(options);
  auto draw = [&] { terminal.draw(view.lines(terminal.columns(), terminal.rows())); };
  int code = kOk;
  Endpoint endpoint(options, interrupts, deadline_of(options), [&](const std::string& line) {
    view.trouble(line);
    draw();
  });
  endpoint.look_beside({.descriptors = terminal.descriptors(), .look = [&] {
                          for (const std::string& key : terminal.read_keys()) {
                            if (key == "hang up") code = kSignalled + SIGHUP;
                            if (key == "hang up" || !view.press(key, terminal.rows())) return false;
                          }
                          draw();
                          return true;
                        }});
  draw();
  EventReader reader([&](const Event& event) {
    view.take(event);
    draw();
  });
  Exit exit = endpoint.keep_reading(
      [&]() -> Request {
        reader.restart();
        return {.path = "/bulkhead/events", .headers = {"Accept: text/event-stream"}};
      },
      [&](std::string_view bytes) { reader.take(bytes); });
  return exit.code == kOk ? Exit{code, ""} : exit;
}

}  // namespace

int top(const Options& options) {
  if (!on_terminal(STDOUT_FILENO)) {
    say("top needs a terminal that can move its cursor (TERM)");
    say("`bulkhead ps` prints the same once, and `bulkhead ps --json --watch` is for programs");
    return kUsage;
  }
  Interrupts interrupts;
  return finish(print(show(options, interrupts)));
}

}  // namespace bulkhead::client
