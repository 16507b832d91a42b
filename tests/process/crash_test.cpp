// What is known of a crash: the crash file, its stack with and without names, the verdict on memory, the record.

#include <boost/json.hpp>
#include <csignal>
#include <fstream>
#include <set>

#include "supervisor/process/crash_file.hpp"
#include "supervisor/process/crash_record.hpp"
#include "supervisor/process/oom.hpp"
#include "supervisor/process/symbolise.hpp"
#include "tests/process/harness.hpp"

namespace bulkhead::process::testing {
namespace {

constexpr char kWhole[] =
    "terminate St13runtime_error: no such: model\n"
    "signal 6 code -6 addr 0x0 tid 4712 ip 0x7f0000002345 sp 0x7ffd00001230\n"
    "sender 4242\n"
    "thread ocr worker\n"
    "frame 0x7f0000002345\n"
    "frame 0x55d000001010\n"
    "frame 0xdead\n"
    "cut unwinding faulted\n"
    "maps\n"
    "55d000000000-55d000001000 r--p 00000000 08:01 11 /opt/my handler\n"
    "55d000001000-55d000004000 r-xp 00001000 08:01 11 /opt/my handler\n"
    "55d000004000-55d000005000 rw-p 00000000 00:00 0 \n"
    "7f0000002000-7f0000003000 r-xp 00002000 08:01 12                         /lib/libfoo.so.1\n"
    "end\n";

TEST(CrashFile, IsUnderstood) {
  CrashFile crash = parse_crash_file(kWhole);
  EXPECT_EQ(crash.signal, SIGABRT);
  EXPECT_EQ(crash.code, -6);
  EXPECT_EQ(crash.thread, 4712);
  EXPECT_EQ(crash.sender, 4242);
  EXPECT_EQ(crash.thread_name, "ocr worker");
  EXPECT_EQ(crash.exception_type, "std::runtime_error");
  EXPECT_EQ(crash.exception_text, "no such: model");
  EXPECT_EQ(crash.frames, (std::vector<std::uint64_t>{0x7f0000002345, 0x55d000001010, 0xdead}));
  EXPECT_EQ(crash.maps.size(), 3U);
  EXPECT_TRUE(crash.complete);
  EXPECT_EQ(plain_stack(crash),
            (std::vector<std::string>{"libfoo.so.1+0x2345", "my handler+0x1010", "0xdead", "(unwinding faulted)"}));
  EXPECT_EQ(crash_reason(crash), "uncaught exception std::runtime_error: no such: model, in thread ocr worker");
}

constexpr char kStalled[] =
    "Thread 0x7f00 (most recent call first):\n  File \"a.py\", line 3 in wait\n"
    "stall 4711\nthread main\nframe 0x55d000001234\nstalled\nmaps\n"
    "55d000001000-55d000004000 r-xp 00001000 08:01 11 /opt/my handler\nend\n";

TEST(CrashFile, WhereAThreadStoodIsNoCrash) {
  TemporaryDirectory directory;
  const auto read = [&](const std::string& text) {
    std::ofstream(directory.path() / "crash") << text;
    return read_crash_file(directory.path() / "crash");
  };
  EXPECT_FALSE(read(kStalled));
  EXPECT_FALSE(read(std::string(kStalled) + kStalled));
  for (std::size_t size = 0; size < sizeof kStalled; ++size)
    EXPECT_FALSE(read(std::string(kStalled).substr(0, size))) << size;
  const auto crash = read(kStalled + std::string(kWhole));
  ASSERT_TRUE(crash);
  EXPECT_EQ(crash->signal, SIGABRT);
  EXPECT_EQ(crash->exception_type, "std::runtime_error");
  EXPECT_EQ(crash->frames, (std::vector<std::uint64_t>{0x7f0000002345, 0x55d000001010, 0xdead}));
  EXPECT_TRUE(crash->interpreter.empty());
  const auto begun = read("Thread 0x7f00 (most recent call first):\nstall 4711\nframe 0x1\n" + std::string(kWhole));
  ASSERT_TRUE(begun);
  EXPECT_EQ(begun->signal, SIGABRT);
  EXPECT_EQ(begun->frames.size(), 3U);
}

TEST(CrashFile, WhatAnInterpreterAddsIsKept) {
  const CrashFile crash = parse_crash_file(
      std::string(kWhole) +
      "Fatal Python error: Aborted\n\nThread 0x1 (most recent call first):\n  File \"a.py\", line 3 in f\n");
  EXPECT_EQ(crash.interpreter,
            (std::vector<std::string>{"Fatal Python error: Aborted",
                                      "Thread 0x1 (most recent call first):", "  File \"a.py\", line 3 in f"}));
  EXPECT_EQ(crash.frames.size(), 3U);
}

TEST(CrashFile, CutOffAnywhereGivesWhatIsThere) {
  std::string whole = kWhole;
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    CrashFile crash = parse_crash_file(std::string_view(whole).substr(0, size));
    EXPECT_LE(crash.frames.size(), 3U);
    EXPECT_EQ(crash.complete, size >= whole.size() - 1);
    plain_stack(crash);
    for (std::uint64_t frame : crash.frames)
      EXPECT_TRUE(frame == 0x7f0000002345 || frame == 0x55d000001010 || frame == 0xdead) << "half a number was taken";
  }
}

TEST(CrashFile, NonsenseIsNoHarm) {
  for (std::string text :
       {std::string("frame\nframe 0x\nframe zz\nsignal\nsignal x y z\nmaps\n-\n--\n0-\nx-y z\n"),
        std::string(3'000'000, 'f'), std::string("frame 0xffffffffffffffffffff\n"), std::string(1000, '\0')}) {
    CrashFile crash = parse_crash_file(text);
    EXPECT_TRUE(crash.frames.empty());
    EXPECT_TRUE(crash.maps.empty());
  }
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "frame 0x1\n";
  EXPECT_EQ(parse_crash_file(many).frames.size(), CrashFile::kMaxFrames);
}

TEST(CrashFile, NoneOrAnEmptyOneIsNoWord) {
  TemporaryDirectory directory;
  EXPECT_FALSE(read_crash_file(directory.path() / "none"));
  std::ofstream(directory.path() / "empty") << "";
  EXPECT_FALSE(read_crash_file(directory.path() / "empty"));
  std::ofstream(directory.path() / "some") << kWhole;
  EXPECT_EQ(read_crash_file(directory.path() / "some")->frames.size(), 3U);
}

TEST(CrashFile, TheReasonIsWhatTheSignalDoesNotSay) {
  EXPECT_EQ(crash_reason(parse_crash_file("signal 11 code 1 addr 0x10 tid 1\n")), "at address 0x10");
  EXPECT_EQ(crash_reason(parse_crash_file("signal 11 code 0 addr 0x0 tid 1\nsender 7\n")), "signal sent by process 7");
  EXPECT_EQ(crash_reason(parse_crash_file("signal 8 code 1 addr 0x10 tid 1\n")), "");
}

class Symbolising : public ::testing::Test {
 protected:
  void SetUp() override {
    program =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../../supervisor/process/bulkhead-symbolise";
    if (!std::filesystem::exists(program)) GTEST_SKIP() << "built without libdw";
  }
  CrashFile crash_of_the_naughty_child() {
    TemporaryDirectory directory;
    Subject subject(loop, naughty({"leave-crash-file", directory.path() / "crash"}));
    EXPECT_TRUE(subject.until_end().succeeded());
    return read_crash_file(directory.path() / "crash").value();
  }
  std::vector<std::string> stack_of(Symboliser& symboliser, const CrashFile& crash,
                                    std::chrono::milliseconds deadline) {
    std::optional<std::vector<std::string>> stack;
    symboliser.symbolise(crash, deadline, [&](std::vector<std::string> names) { stack = std::move(names); });
    EXPECT_FALSE(stack) << "never from within";
    loop.until([&] { return stack.has_value(); });
    return *stack;
  }
  std::filesystem::path program;
  Loop loop;
};

TEST_F(Symbolising, NamesFunctionsFilesLinesAndWhatWasInlined) {
  Symboliser symboliser(loop.executor(), program);
  auto stack = stack_of(symboliser, crash_of_the_naughty_child(), kLimit);
  std::string text;
  for (const std::string& line : stack) text += line + "\n";
  auto writer = text.find("write_crash_file(char const*) at "), inlined = text.find("somebody_inlined");
  auto blamed = text.find("the_one_to_blame(char const*) at "), main = text.find("main at ");
  EXPECT_TRUE(writer < inlined && inlined < blamed && blamed < main && main != std::string::npos) << text;
  EXPECT_NE(text.find("naughty_child.cpp:"), std::string::npos) << text;
  EXPECT_NE(text.find("(inlined)"), std::string::npos) << text;
  EXPECT_NE(text.find("(naughty_child+0x"), std::string::npos) << text;
  EXPECT_NE(text.find("libc.so.6+0x"), std::string::npos) << text;
  EXPECT_TRUE(has_no_children());
}

TEST_F(Symbolising, WithoutTheProgramAStackIsPlain) {
  CrashFile crash = crash_of_the_naughty_child();
  for (std::string none : {"", "/no/such/program"}) {
    Symboliser symboliser(loop.executor(), none);
    EXPECT_EQ(stack_of(symboliser, crash, kLimit), plain_stack(crash));
  }
}

TEST_F(Symbolising, AProgramThatHangsIsEndedAtTheDeadline) {
  TemporaryDirectory directory;
  std::filesystem::path hangs = directory.path() / "hangs";
  std::ofstream(hangs) << "#!/bin/sh\nprintf '1\\tthe second frame\\n'\nexec sleep 1000\n";
  std::filesystem::permissions(hangs, std::filesystem::perms::owner_all);
  CrashFile crash = parse_crash_file(kWhole);
  auto expected = plain_stack(crash);
  expected[1] = "the second frame";
  Symboliser symboliser(loop.executor(), hangs);
  EXPECT_EQ(stack_of(symboliser, crash, std::chrono::milliseconds(200)), expected) << "what it had said counts";
  loop.until([] { return has_no_children(); });
}

TEST_F(Symbolising, AProgramThatDiesLeavesAPlainStack) {
  Symboliser symboliser(loop.executor(), "/bin/false");
  CrashFile crash = parse_crash_file(kWhole);
  EXPECT_EQ(stack_of(symboliser, crash, kLimit), plain_stack(crash));
}

TEST_F(Symbolising, ManyAtOnceAllGetAStackAndFewPrograms) {
  Symboliser symboliser(loop.executor(), program);
  CrashFile crash = crash_of_the_naughty_child();
  int answered = 0;
  for (int i = 0; i < 20; ++i) symboliser.symbolise(crash, kLimit, [&](std::vector<std::string>) { ++answered; });
  loop.until([&] { return answered == 20; });
}

TEST_F(Symbolising, WithTheSymboliserTheProgramsEnd) {
  bool called = false;
  {
    Symboliser symboliser(loop.executor(), program);
    symboliser.symbolise(parse_crash_file(kWhole), kLimit, [&](std::vector<std::string>) { called = true; });
  }
  EXPECT_TRUE(has_no_children());
  loop.turn();
  EXPECT_FALSE(called);
}

ExitStatus killed_by(int signal) {
  ExitStatus status;
  status.how = ExitStatus::How::Killed;
  status.signal = signal;
  return status;
}

TEST(Oom, IsToldByTheCounters) {
  OomCounts none, before{5, 9}, same{5, 9}, cgroup_rose{6, 10}, machine_rose{5, 10};
  EXPECT_TRUE(judge_oom(killed_by(SIGKILL), false, before, cgroup_rose).oom_killed);
  EXPECT_FALSE(judge_oom(killed_by(SIGKILL), true, before, cgroup_rose).oom_killed) << "that was us";
  EXPECT_FALSE(judge_oom(killed_by(SIGSEGV), false, before, cgroup_rose).oom_killed);
  EXPECT_FALSE(judge_oom(killed_by(SIGKILL), false, before, same).oom_killed);
  EXPECT_FALSE(judge_oom(killed_by(SIGKILL), false, before, machine_rose).oom_killed) << "somebody else's";
  EXPECT_TRUE(judge_oom(killed_by(SIGKILL), false, {std::nullopt, 9}, {std::nullopt, 10}).oom_killed);
  OomVerdict unknown = judge_oom(killed_by(SIGKILL), false, none, none);
  EXPECT_FALSE(unknown.oom_killed);
  EXPECT_NE(unknown.remark.find("unknown"), std::string::npos);
  EXPECT_TRUE(judge_oom(ExitStatus{}, false, before, cgroup_rose).remark.empty());
}

TEST(Oom, AChildThatTookTooMuchIsSeen) {
  namespace fs = std::filesystem;
  std::ifstream cgroups("/proc/self/cgroup");
  std::string v1, v2;
  for (std::string line; std::getline(cgroups, line);) {
    if (auto at = line.find(":memory:"); at != std::string::npos) v1 = "/sys/fs/cgroup/memory" + line.substr(at + 8);
    if (line.starts_with("0::")) v2 = "/sys/fs/cgroup" + line.substr(3);
  }
  fs::path group = fs::path(v1.empty() ? v2 : v1) / ("bulkhead-test-" + std::to_string(::getpid()));
  std::error_code error;
  if (!fs::create_directory(group, error)) GTEST_SKIP() << "may not make a cgroup here: " << error.message();
  const char* limit = v1.empty() ? "memory.max" : "memory.limit_in_bytes";
  if (!(std::ofstream(group / limit) << "64M" << std::flush)) {
    fs::remove(group);
    GTEST_SKIP() << "may not limit memory here";
  }
  in_subprocess([&] {
    std::ofstream(group / "cgroup.procs") << "0" << std::flush;
    std::ofstream(group / "memory.swap.max") << "0" << std::flush;
    OomCounters counters;
    EXPECT_EQ(counters.memory_limit(), 64U << 20);
    OomCounts before = counters.read();
    SpawnPlan plan = naughty({"take-memory", "200"});
    plan.oom_score_adj = 1000;
    Loop loop;
    Subject subject(loop, plan);
    EXPECT_EQ(subject.until_end().signal, SIGKILL);
    EXPECT_TRUE(judge_oom(*subject.status, false, before, counters.read()).oom_killed);
  });
  fs::remove(group, error);
}

TEST(CrashRecord, SaysWhatTheIssueNames) {
  ExitStatus status = killed_by(SIGSEGV);
  status.peak_rss_bytes = 123456;
  CrashRecord record = describe_crash(4711, status, false, "");
  EXPECT_EQ(record.error_message, "handler process 4711 was killed by SIGSEGV while running this job");
  record.run_time = std::chrono::milliseconds(1500);
  record.attempt = 2;
  record.stack = {"f() at f.cpp:1"};
  record.interpreter_stack = {"Current thread (most recent call first):"};
  record.log_tail = {"loading \"model\"", "ü"};
  record.worker_id = "w0.3";
  record.hostname = "machine";
  EXPECT_EQ(
      to_json(record),
      R"({"error_type":"WorkerCrash","error_message":"handler process 4711 was killed by SIGSEGV while running this job",)"
      R"("signal":"SIGSEGV","signal_number":11,"oom_killed":false,"peak_rss_bytes":123456,"run_time_ms":1500,"attempt":2,)"
      R"("stack":["f() at f.cpp:1"],)"
      R"("interpreter_stack":["Current thread (most recent call first):"],"log_tail":["loading \"model\"","ü"],"worker_id":"w0.3","hostname":"machine"})");
}

TEST(CrashRecord, AnExitInTheMiddleIsACrashToo) {
  ExitStatus status;
  status.how = ExitStatus::How::Exited;
  CrashRecord record = describe_crash(7, status, false, "it had closed its connection");
  EXPECT_EQ(record.error_message,
            "handler process 7 exited with code 0 while running this job (it had closed its connection)");
  auto value = boost::json::parse(to_json(record)).as_object();
  EXPECT_EQ(value["exit_code"].as_int64(), 0);
  EXPECT_FALSE(value.contains("signal"));
  EXPECT_FALSE(value["hostname"].as_string().empty());
  auto unknown = boost::json::parse(to_json(describe_crash(7, ExitStatus{}, false, ""))).as_object();
  EXPECT_FALSE(unknown.contains("exit_code")) << "an unknown end is no 0";
}

TEST(CrashRecord, IsBounded) {
  CrashRecord record = describe_crash(7, killed_by(SIGKILL), true, "");
  record.log_tail.assign(50, std::string(8192, '\x01'));
  record.log_tail.push_back("the last word");
  record.stack.assign(128, std::string(300, 's'));
  std::string text = to_json(record);
  EXPECT_LE(text.size(), 64U * 1024);
  auto value = boost::json::parse(text).as_object();
  EXPECT_TRUE(value["oom_killed"].as_bool());
  EXPECT_EQ(value["log_tail"].as_array().back().as_string(), "the last word");
  EXPECT_LE(to_json(record, 600).size(), 600U);
}

}  // namespace
}  // namespace bulkhead::process::testing
