// One job from the command line: `bulkhead run -- ./handler --test_input '{"input": …}'`.
//
// What a handler program does by itself when nobody supervises it, done in a supervised child: the lines are the same
// ("LEVEL  | message", as RunPod's SDK prints them), and a crash is a report instead of the end.

#pragma once

#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "supervisor/job/ports.hpp"

namespace bulkhead {

/// What to run and what to expect of it.
struct TestJob {
  Job job;
  std::optional<std::string> expected;  ///< JSON: the result, or only its output
};

/// Nothing said there should be a test.
struct NoTestJob {};

/// Whether the handler's command line has --test_input: then a test is meant, wherever it runs.
bool names_test_job(const std::vector<std::string>& command);

/// Looks for a test in a handler's command line (--test_input, --test_output, with `=` or as the next word), then for
/// `test_input.json` in the working directory. A string is what is wrong with it, for the user.
std::variant<TestJob, NoTestJob, std::string> find_test_job(const std::vector<std::string>& command);

class TestInput final : public Source {
 public:
  /// `done` is called with the exit code: 0, or 1 when the job failed or its result is not the expected one. Lines go
  /// to `out`.
  TestInput(TestJob test, std::FILE* out, std::function<void(int)> done);

  void submit_to(Intake& intake);

  void room(int) override {}
  void started(const Job& job, std::string_view worker_id, std::int64_t, int attempt) override;
  void requeued(const Job& job, const Payload& history) override;
  void progress(const Job& job, Payload value) override;
  void chunk(const Job& job, std::uint32_t number, Payload value, std::function<void()> taken) override;
  void report(const Job& job, const Outcome& outcome, std::function<void()> settled) override;
  void log(const Job& job, const LogLine& line) override;

 private:
  void line(std::string_view level, std::string_view text);
  int judge(const Outcome& outcome);

  TestJob test_;
  std::FILE* out_;
  std::function<void(int)> done_;
};

}  // namespace bulkhead
