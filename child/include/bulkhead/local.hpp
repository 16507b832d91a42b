// Local testing: a handler program that no supervisor started runs one job and says what came of it.
//
// The lines go to stdout in the form "LEVEL  | message" that people and scripts know from RunPod's SDK; the exit code is 0
// when the job succeeded and, with --test_output, gave what was expected.

#pragma once

#include <cstdio>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bulkhead/arguments.hpp"
#include "bulkhead/compare.hpp"
#include "bulkhead/options.hpp"

namespace bulkhead::sdk {

inline constexpr char kTestInputFile[] = "test_input.json";

/// Lines on stdout.
class Terminal {
 public:
  explicit Terminal(Level threshold) : threshold_(threshold) {}

  void line(Level level, std::string_view message, std::string_view job_id = {}) {
    if (level < threshold_) return;
    static constexpr const char* kNames[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR"};
    std::string text(kNames[static_cast<int>(level)]);
    text.resize(7, ' ');
    text += "| ";
    if (!job_id.empty()) (text += job_id) += " | ";
    (text += message) += '\n';
    std::lock_guard lock(mutex_);
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }

 private:
  const Level threshold_;
  std::mutex mutex_;
};

/// Prints what the job says.
class LocalOutlet final : public Outlet {
 public:
  LocalOutlet(Terminal& terminal, std::string id) : terminal_(terminal), id_(std::move(id)) {}

  void log(Level level, std::string_view text) override { terminal_.line(level, text, id_); }
  void progress(std::string_view json) override { log(Level::Info, "Progress: " + std::string(json)); }
  bool save_checkpoint(std::string_view data) override {
    log(Level::Debug,
        "Checkpoint of " + std::to_string(data.size()) + " bytes; there is no later attempt to give it to.");
    return true;
  }
  StopReason stop_reason() const override { return StopReason::Running; }
  int chunk(std::string_view json, bool) override {
    log(Level::Info, "Generator output: " + std::string(json));
    return BH_OK;
  }

 private:
  Terminal& terminal_;
  const std::string id_;
};

class LocalTest {
 public:
  LocalTest(const Program& program, const Arguments& arguments)
      : program_(program), arguments_(arguments), terminal_(program.threshold) {}

  /// The exit code.
  int run() {
    if (!arguments_.rest.empty()) {
      std::string names;
      for (const std::string& argument : arguments_.rest) (names += ' ') += argument;
      terminal_.line(Level::Warn, "Not flags of Bulkhead's, left to the handler:" + names);
    }
    std::optional<boost::json::object> job;
    std::optional<Json> expected;
    try {
      if (arguments_.test_output) expected = parse(*arguments_.test_output, "test_output");
      job = find_job();
    } catch (const NotJson& error) {
      terminal_.line(Level::Error, error.what());
    }
    if (!job) return 1;
    const Json* input = job->if_contains("input");
    if (input == nullptr || input->is_null()) {
      terminal_.line(Level::Error, "Job has no input parameter. Unable to run.");
      return 1;
    }
    return judge(run_job(*job), expected);
  }

 private:
  /// The job to run; nothing where there is none, which has been said then. Throws NotJson.
  std::optional<boost::json::object> find_job() {
    Json job;
    if (arguments_.test_input) {
      terminal_.line(Level::Info, "test_input set, using test_input as job input.");
      job = parse(*arguments_.test_input, "test_input");
    } else {
      std::ifstream file(kTestInputFile, std::ios::binary);
      if (!file) {
        terminal_.line(Level::Warn, "test_input.json not found, exiting.");
        explain();
        return std::nullopt;
      }
      terminal_.line(Level::Info, "Using test_input.json as job input.");
      std::ostringstream text;
      text << file.rdbuf();
      job = parse(text.view(), kTestInputFile);
    }
    if (!job.is_object()) {
      terminal_.line(Level::Error, "A job is an object such as {\"input\": {}}. Unable to run.");
      return std::nullopt;
    }
    return job.get_object();
  }

  static void explain() {
    std::fputs(
        "bulkhead: nothing to do. No supervisor started this program (BULKHEAD_SOCKET is not set), and there is no job "
        "to\n"
        "bulkhead: try it on: neither --test_input nor test_input.json in the working directory.\n"
        "bulkhead: to serve jobs:     bulkhead serve -- ./handler\n"
        "bulkhead: to try it on one:  ./handler --test_input '{\"input\": {}}'    (--help says more)\n",
        stderr);
  }

  Outcome run_job(boost::json::object& job) {
    const Json* given = job.if_contains("id");
    id_ = given == nullptr     ? "local_test"
          : given->is_string() ? std::string(std::string_view(given->get_string()))
                               : to_text(*given, "id");
    terminal_.line(Level::Debug, "Retrieved local job: " + shortened(to_text(job, "job")));
    const std::string input = to_text(job.at("input"), "input");
    job.erase("id");
    job.erase("input");
    const std::string extra = job.empty() ? "" : to_text(job, "job");

    LocalOutlet outlet(terminal_, id_);
    std::stop_source never;
    Job handed(Facts{id_, input, extra, std::nullopt, 1}, outlet, never.get_token());
    terminal_.line(Level::Info, "Started.", id_);
    // All chunks are wanted here, to be shown and compared.
    const Surroundings around{program_.who, outlet, true};
    const Handler& handler = program_.options.handler;
    const Outcome outcome = handler.driver() == nullptr ? handler.run(handed, around)
                                                        : handler.driver()->run_alone(handler, handed, around);
    if (handler.streams()) terminal_.line(Level::Info, "Finished running generator.", id_);
    return outcome;
  }

  int judge(const Outcome& outcome, const std::optional<Json>& expected) {
    Json error, output;
    try {
      error = outcome.error.empty() ? Json() : parse(outcome.error, "error");
      output = outcome.output.empty() ? Json() : parse(outcome.output, "output");
    } catch (const NotJson& invalid) {  // a RawJson that is none
      error = invalid.what();
    }
    boost::json::object result;
    if (!outcome.output.empty()) result["output"] = output;
    if (!error.is_null()) result["error"] = error;
    if (outcome.refresh_worker || program_.options.refresh_worker) result["stopPod"] = true;
    if (!error.is_null()) {
      terminal_.line(Level::Error, "Job " + id_ + " failed with error: " +
                                       (error.is_string() ? std::string(error.get_string()) : to_text(error, "error")));
      return 1;
    }
    terminal_.line(Level::Info, "Job " + id_ + " completed successfully.");
    terminal_.line(Level::Info, "Job result: " + to_text(result, "result"));
    if (expected && !matches(*expected, result, output)) return 1;
    terminal_.line(Level::Info, "Local testing complete, exiting.");
    return 0;
  }

  /// What is expected may be the whole result, {"output": …}, or the output alone.
  bool matches(const Json& expected, const boost::json::object& result, const Json& output) {
    terminal_.line(Level::Info, "test_output set, comparing output to test_output.");
    const Json bare = result.contains("output") ? output : Json(boost::json::object{});
    const bool whole = expected.is_object() && expected.get_object().contains("output");
    const std::vector<std::string> differences = Comparison::of(expected, bare, "output");
    if (differences.empty() || (whole && Comparison::of(expected, result, "result").empty())) {
      terminal_.line(Level::Info, "Job output matches test_output.");
      return true;
    }
    terminal_.line(Level::Error, "Job output does not match test_output.");
    for (const std::string& line : whole ? Comparison::of(expected, result, "result") : differences)
      terminal_.line(Level::Error, "  " + line);
    return false;
  }

  /// Long jobs (images in base64) are not wanted on a terminal.
  static std::string shortened(std::string text) {
    constexpr std::size_t kMax = 4096;
    if (text.size() <= kMax) return text;
    return valid_utf8(text.substr(0, kMax / 2)) + " ... " + std::to_string(text.size() - kMax) +
           " bytes left out ... " + valid_utf8(text.substr(text.size() - kMax / 2));
  }

  const Program& program_;
  const Arguments& arguments_;
  Terminal terminal_;
  std::string id_;
};

}  // namespace bulkhead::sdk
