// What shows an endpoint as it is: health, ps, logs. All they know comes from its routes for looking; nothing is kept here
// but what stands on the screen.
//
// ps --watch asks anew every second. On a terminal it has the whole of it, until q, Ctrl-C, or --timeout; elsewhere it goes
// on printing. An endpoint that goes away meanwhile is asked again for two minutes.

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <random>
#include <utility>

#include "client/console.hpp"
#include "client/endpoint.hpp"
#include "client/json_text.hpp"
#include "client/overview.hpp"
#include "client/terminal.hpp"
#include "client/verbs.hpp"

namespace bulkhead::client {

using namespace std::chrono_literals;

namespace {

constexpr auto kPatience = 2min;  // as Endpoint's
constexpr int kMostShown = 20;    // jobs, unless --limit says otherwise

std::string job_query(const Options& options, std::size_t limit, const std::optional<std::string>& before) {
  std::string path = "/bulkhead/jobs?limit=" + std::to_string(limit);
  if (before) path += "&before=" + *before;
  auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) path.append("&").append(name).append("=").append(value);
  };
  add("state", options.states);
  add("error_type", options.error_type);
  add("worker", options.worker);
  add("id", options.id);
  return path;
}

bool is_of(const std::string& child, const std::string& worker) {
  return worker.empty() || child == worker || child.starts_with(worker + ".");
}

struct Jobs {
  std::vector<JobRow> rows;
  std::vector<std::string> json;  ///< the same, as they came
};

/// What ps shows at one moment.
struct Page {
  std::string snapshot;
  Jobs jobs;

  std::string json() const {
    std::string text = "{\"snapshot\":" + one_line(snapshot) + ",\"jobs\":[";
    for (std::size_t i = 0; i < jobs.json.size(); ++i) text.append(i > 0 ? "," : "").append(jobs.json[i]);
    return text + "]}";
  }

  std::vector<std::string> lines(const Options& options, const Look& look) const {
    auto seen = overview_of(snapshot);
    if (!seen) return {"what answers at " + options.address.shown + " is not an endpoint"};
    std::erase_if(seen->children, [&](const ChildRow& child) { return !is_of(child.id, options.worker); });
    std::vector<Cell> head{{"bulkhead " + seen->version, Colour::Strong}, {" at " + options.address.shown + ": "}};
    for (const Cell& cell : phase_cells(*seen)) head.push_back(cell);
    std::vector<std::string> lines{line_of(head, look), line_of(job_cells(*seen), look), ""};
    for (std::string& line : child_table(*seen).lines(look)) lines.push_back(std::move(line));
    if (jobs.rows.empty()) return lines;
    lines.emplace_back();
    for (std::string& line : job_table(jobs.rows, seen->at).lines(look)) lines.push_back(std::move(line));
    return lines;
  }
};

/// The jobs that are asked for. Of many an answer looks at a part, and says where to go on: not for ever.
std::variant<Jobs, Exit> jobs_at(Endpoint& endpoint, const Options& options) {
  constexpr int kMostAnswers = 100;
  const auto wanted = static_cast<std::size_t>(options.limit.value_or(kMostShown));
  Jobs jobs;
  std::optional<std::string> before;
  for (int i = 0; i < kMostAnswers && jobs.rows.size() < wanted; ++i) {
    auto answer = endpoint.ask(false, job_query(options, wanted - jobs.rows.size(), before));
    if (auto* exit = std::get_if<Exit>(&answer)) return *exit;
    const auto& text = std::get<std::string>(answer);
    each_element(member(text, "jobs"), [&](std::string_view job) { jobs.json.push_back(one_line(job)); });
    JobPage page = jobs_of(text);
    jobs.rows.insert(jobs.rows.end(), page.rows.begin(), page.rows.end());
    before = page.before;
    if (!before) break;
  }
  return jobs;
}

std::variant<Page, Exit> look_at(Endpoint& endpoint, const Options& options) {
  Page page;
  auto snapshot = endpoint.ask(false, "/bulkhead/snapshot");
  if (auto* exit = std::get_if<Exit>(&snapshot)) return *exit;
  page.snapshot = std::move(std::get<std::string>(snapshot));
  auto jobs = jobs_at(endpoint, options);
  if (auto* exit = std::get_if<Exit>(&jobs)) return *exit;
  page.jobs = std::move(std::get<Jobs>(jobs));
  return page;
}

int print_ids(Endpoint& endpoint, const Options& options) {
  auto jobs = jobs_at(endpoint, options);
  if (auto* exit = std::get_if<Exit>(&jobs)) return print(*exit);
  for (const JobRow& job : std::get<Jobs>(jobs).rows)
    if (is_id(job.id)) print_line(job.id);  // shells complete from these: nothing that could mean more to them
  return finish(kOk);
}

void print_page(const Page& page, const Options& options) {
  if (options.json) return print_line(page.json());
  for (const std::string& line : page.lines(options, {in_colour(STDOUT_FILENO), 0})) print_line(line);
}

/// ps --watch.
class Watch {
 public:
  Watch(const Options& options, Interrupts& interrupts, Endpoint& endpoint)
      : options_(options), interrupts_(interrupts), endpoint_(endpoint) {
    if (options.json || !on_terminal(STDOUT_FILENO)) return;
    terminal_.emplace();
    endpoint.look_beside(
        {.descriptors = terminal_->descriptors(), .every = 250ms, .look = [this] { return take_keys(); }});
  }

  Exit run(Clock::time_point deadline) {
    auto last_contact = Clock::now();
    for (bool first = true;; first = false) {
      auto page = look_at(endpoint_, options_);
      if (interrupts_.signal() != 0 || left_) break;
      if (auto* exit = std::get_if<Exit>(&page)) {
        if (Clock::now() >= deadline) break;
        if (first || exit->code != kNoAnswer || Clock::now() - last_contact > kPatience) return *exit;
        complain(exit->text);
      } else {
        last_contact = Clock::now();
        show(std::move(std::get<Page>(page)), first);
      }
      auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
      if (left <= 0ms || !endpoint_.pause(std::min(next_pause(), left))) break;
    }
    return {interrupts_.signal() != 0 ? kSignalled + interrupts_.signal() : code_, ""};
  }

 private:
  /// A second; longer and longer where nobody answers, and not in step with others.
  milliseconds next_pause() {
    if (trouble_.empty()) {
      failures_ = 0;
      return 1s;
    }
    const int longest = std::min(5'000, 1'000 << std::min(failures_++, 3));
    return milliseconds(std::uniform_int_distribution<int>(longest / 2, longest)(random_));
  }

  bool take_keys() {
    for (const std::string& key : terminal_->read_keys()) {
      if (key == "hang up") code_ = kSignalled + SIGHUP;
      if (key == "hang up" || key == "q" || key == "Q") left_ = true;
      if (key == "resize") draw();
    }
    return !left_;
  }

  void complain(const std::string& text) {
    trouble_ = text.substr(0, text.find('\n'));
    if (terminal_) return draw();
    if (!std::exchange(complained_, true)) std::fputs((trouble_ + "; trying again\n").c_str(), stderr);
  }

  void show(Page page, bool first) {
    page_ = std::move(page);
    complained_ = false;
    trouble_.clear();
    if (terminal_) return draw();
    if (!first && !options_.json) print_line("");
    print_page(page_, options_);
  }

  void draw() {
    Look look{in_colour(STDOUT_FILENO), terminal_->columns() - 1};
    auto lines = page_.lines(options_, look);
    if (!trouble_.empty()) lines.insert(lines.begin(), line_of({{trouble_, Colour::Bad}}, look));
    terminal_->draw(lines);
  }

  const Options& options_;
  Interrupts& interrupts_;
  Endpoint& endpoint_;
  std::optional<Terminal> terminal_;
  Page page_;
  std::string trouble_;
  std::minstd_rand random_{std::random_device{}()};
  int failures_ = 0;  ///< in a row
  bool complained_ = false;
  bool left_ = false;
  int code_ = kOk;
};

// ---- logs ----------------------------------------------------------------------------------------------------------------

Colour colour_of_level(std::string_view level) {
  if (level == "error" || level == "critical" || level == "ERROR") return Colour::Bad;
  if (level == "warning" || level == "warn" || level == "WARN") return Colour::Doubtful;
  return level == "debug" || level == "trace" ? Colour::Faint : Colour::Plain;
}

/// Lines of JSON as they come, in pieces.
class LogPrinter {
 public:
  explicit LogPrinter(const Options& options) : options_(options) {}

  void take(std::string_view bytes) {
    while (!bytes.empty()) {
      std::size_t end = bytes.find('\n');
      half_.append(bytes.substr(0, end));
      if (half_.size() > kLongestLine) {
        say("a line of the log is longer than 4 MiB, and is left out");
        half_.clear();
      }
      if (end == std::string_view::npos) return;
      bytes.remove_prefix(end + 1);
      std::string line = std::exchange(half_, {});
      // An empty one keeps the connection alive.
      if (line.find_first_not_of(" \r") != std::string::npos) print_one(line);
    }
  }

  /// A new connection: what stands half comes again.
  std::string query_to_go_on() {
    half_.clear();
    return last_.empty() ? "&limit=" + std::to_string(options_.limit.value_or(100)) : "&after=" + last_;
  }

 private:
  void print_one(const std::string& line) {
    if (std::string lost = plain(member(line, "lost")); !lost.empty()) {
      say(harmless(lost) + " lines are lost: they came faster than they were read here");
      return;
    }
    if (std::string seq = plain(member(line, "seq")); !seq.empty()) last_ = seq;
    if (options_.json) return print_line(line);
    Look look{in_colour(STDOUT_FILENO), 0};
    std::string level = harmless(plain(member(line, "level")));
    std::string worker = harmless(plain(member(line, "worker")));
    std::string job = harmless(plain(member(line, "job")));
    std::int64_t at = std::strtoll(plain(member(line, "at")).c_str(), nullptr, 10);
    std::vector<Cell> cells{
        {time_of_day(at, true), Colour::Faint},
        {"  " + level + std::string(level.size() < 7 ? 7 - level.size() : 0, ' '), colour_of_level(level)}};
    if (!worker.empty()) cells.push_back({"  " + worker + std::string(worker.size() < 5 ? 5 - worker.size() : 0, ' ')});
    if (!job.empty() && options_.id.empty()) cells.push_back({"  " + job, Colour::Busy});
    cells.push_back({"  " + harmless(plain(member(line, "text")), 1 << 20)});
    print_line(line_of(cells, look));
  }

  static constexpr std::size_t kLongestLine = 4 << 20;  // an endpoint keeps at most 16 KiB of one

  const Options& options_;
  std::string half_;
  std::string last_;  ///< number of the last line
};

}  // namespace

int ps(const Options& options) {
  Interrupts interrupts;
  const auto deadline = deadline_of(options);
  Endpoint endpoint(options, interrupts, deadline, say);
  if (options.quiet) return print_ids(endpoint, options);
  if (options.watch) {
    Exit exit;
    {
      Watch watch(options, interrupts, endpoint);
      exit = watch.run(deadline);
      endpoint.look_beside({});
    }
    return finish(print(exit));
  }
  auto page = look_at(endpoint, options);
  if (auto* exit = std::get_if<Exit>(&page)) return print(*exit);
  print_page(std::get<Page>(page), options);
  return finish(kOk);
}

int logs(const Options& options) {
  Interrupts interrupts;
  Endpoint endpoint(options, interrupts, deadline_of(options), say);
  LogPrinter printer(options);
  auto request = [&]() -> Request {
    std::string path = "/bulkhead/logs?follow=" + std::string(options.follow ? "1" : "0") + printer.query_to_go_on();
    if (!options.id.empty()) path += "&job=" + options.id;
    if (!options.worker.empty()) path += "&worker=" + options.worker;
    return {.path = path};
  };
  auto take = [&](std::string_view bytes) { printer.take(bytes); };
  Exit exit = options.follow ? endpoint.keep_reading(request, take) : endpoint.read(request(), take);
  return finish(print(exit));
}

int health(const Options& options) {
  Interrupts interrupts;
  Endpoint endpoint(options, interrupts, deadline_of(options), say);
  auto answer = endpoint.ask(false, "/health");
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  const auto& counts = std::get<std::string>(answer);
  if (options.json) {
    print_line(one_line(counts));
  } else {
    auto row = [&](const char* name, std::initializer_list<std::pair<const char*, const char*>> columns) {
      std::string line = name;
      for (auto [key, word] : columns)
        line.append("  ").append(word).append(" ").append(plain(member(member(counts, name), key)));
      print_line(harmless(line));
    };
    row("jobs", {{"inQueue", "queued"},
                 {"inProgress", "running"},
                 {"completed", "completed"},
                 {"failed", "failed"},
                 {"retried", "retried"}});
    row("workers", {{"ready", "ready"},
                    {"idle", "idle"},
                    {"running", "running"},
                    {"initializing", "setting up"},
                    {"unhealthy", "unhealthy"}});
  }
  std::string_view ready = member(member(counts, "workers"), "ready");
  if (ready == "0") say("no handler process is ready: `bulkhead ps` and `bulkhead logs` say why");
  return finish(ready == "0" ? kJobFailed : kOk);
}

}  // namespace bulkhead::client
