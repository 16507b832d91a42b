// A child's words arrive as lines, whatever it writes, however much, and whoever holds the pipe.

#include "supervisor/process/output.hpp"

#include <algorithm>
#include <csignal>

#include "supervisor/process/line_splitter.hpp"
#include "tests/process/harness.hpp"

namespace bulkhead::process::testing {
namespace {

using Lines = std::vector<std::string>;

Lines split(const std::vector<std::string>& pieces, std::size_t max_line = 8192, bool flush = true) {
  Lines lines;
  LineSplitter splitter(max_line);
  auto sink = [&](std::string_view line) { lines.emplace_back(line); };
  for (const std::string& piece : pieces) splitter.feed(piece, sink);
  if (flush) splitter.flush(sink);
  return lines;
}

TEST(LineSplitter, LinesComeWholeHoweverTheyAreCut) {
  EXPECT_EQ(split({"one\ntwo\n"}), (Lines{"one", "two"}));
  EXPECT_EQ(split({"o", "ne", "\n", "\nthr", "ee\n"}), (Lines{"one", "", "three"}));
  EXPECT_EQ(split({"no end"}), (Lines{"no end"}));
  EXPECT_EQ(split({"no end"}, 8192, false), Lines{});
  EXPECT_EQ(split({""}), Lines{});
}

TEST(LineSplitter, ACarriageReturnStartsTheLineOver) {
  EXPECT_EQ(split({"dos\r\nlines\r\n"}), (Lines{"dos", "lines"}));
  EXPECT_EQ(split({"10%\r20%\r100%\ndone\n"}), (Lines{"100%", "done"}));
  EXPECT_EQ(split({"dos\r", "\nnext\r", "over\n"}), (Lines{"dos", "over"}));
  EXPECT_EQ(split({"ends in one\r\r\r\n"}), (Lines{"ends in one"}));
  EXPECT_EQ(split({"\r\n\r\n"}), (Lines{"", ""}));
}

TEST(LineSplitter, LongLinesAreCutAndSaySo) {
  EXPECT_EQ(split({std::string(10, 'a') + "\n"}, 10), (Lines{std::string(10, 'a')}));
  EXPECT_EQ(split({std::string(11, 'a') + "\nb\n"}, 10), (Lines{std::string(10, 'a') + " [… 1 more bytes]", "b"}));
  EXPECT_EQ(split({"ééééé\n"}, 9), (Lines{"éééé [… 2 more bytes]"})) << "not within a character";
  EXPECT_EQ(split({std::string(100'000'000, 'x')}, 10).front(), std::string(10, 'x') + " [… 99999990 more bytes]");
}

TEST(LineSplitter, WhatIsNoTextBecomesSome) {
  EXPECT_EQ(split({"gr\xfc\xdf\n"}), (Lines{"gr\xef\xbf\xbd\xef\xbf\xbd"}));
  EXPECT_EQ(split({"\xe2\x82\n", "\xac"}), (Lines{"\xef\xbf\xbd", "\xef\xbf\xbd"}));
  EXPECT_EQ(split({"\xe2\x82", "\xac\n"}), (Lines{"€"})) << "a character may come in two pieces";
  EXPECT_EQ(split({"\xed\xa0\x80\n"}), (Lines{"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"})) << "a surrogate";
  EXPECT_EQ(split({"\xc0\xaf\n"}), (Lines{"\xef\xbf\xbd\xef\xbf\xbd"})) << "an overlong slash";
  EXPECT_EQ(split({"\xf4\x90\x80\x80\n"}).front().size(), 12U) << "beyond Unicode";
  EXPECT_EQ(split({std::string("a\0b\n", 4)}), (Lines{std::string("a\0b", 3)}));
  EXPECT_EQ(split({"😀\n"}), (Lines{"😀"}));
}

TEST(Output, BothStreamsAsTheyAre) {
  Loop loop;
  Subject subject(loop, naughty({"to-both"}));
  subject.until_end();
  subject.output.drain();
  ASSERT_EQ(subject.lines.size(), 2U);
  std::size_t out = subject.lines[0] == "to stdout" ? 0 : 1;
  EXPECT_EQ(subject.lines[out], "to stdout");
  EXPECT_EQ(subject.streams[out], Stream::Stdout);
  EXPECT_EQ(subject.lines[1 - out], "to stderr");
  EXPECT_EQ(subject.streams[1 - out], Stream::Stderr);
  EXPECT_EQ(subject.output.tail().size(), 2U);
  subject.output.clear_tail();
  EXPECT_TRUE(subject.output.tail().empty());
}

TEST(Output, TheEndIsKnownThoughSomebodyHoldsThePipe) {
  Loop loop;
  Subject subject(loop, naughty({"leave-pipe-holder"}));
  subject.until_end();
  subject.output.drain();
  EXPECT_EQ(subject.lines, (Lines{"first", "last"})) << "the unfinished line is among them";
  EXPECT_EQ(subject.end_strays("").count, 1U);
}

TEST(Output, DrainingGivesToEachJobItsOwn) {
  Loop loop;
  Subject subject(loop, naughty({"write", "of the first job\nof the first job, unfinished"}));
  subject.until_end();  // nothing of it was awaited
  subject.output.drain();
  EXPECT_EQ(subject.lines, (Lines{"of the first job", "of the first job, unfinished"}));
  subject.output.drain();
  EXPECT_EQ(subject.lines.size(), 2U);
}

TEST(Output, AClosedStdoutIsNoEnd) {
  Loop loop;
  Subject subject(loop, naughty({"close-stdout"}));
  subject.until_line("ready");
  loop.until([&] {
    loop.turn();
    subject.output.drain();
    return subject.output.bytes_read() > 0;
  });
  EXPECT_FALSE(subject.child->poll());
}

TEST(Output, TheTailIsTheLastFifty) {
  Loop loop;
  Subject subject(loop, naughty({"flood", "10000"}));
  subject.until_end();
  subject.output.drain();
  EXPECT_EQ(subject.lines.size(), 101U);
  EXPECT_EQ(subject.output.tail(), Lines(subject.lines.end() - 50, subject.lines.end()));
  EXPECT_EQ(subject.output.bytes_dropped(), 0U);
}

TEST(Output, AFloodIsCountedAndNeitherKeptNorHeldUp) {
  Loop loop;
  constexpr std::uint64_t kSize = 40'000'000;
  Output::Limits limits;
  limits.rate = 100'000;
  limits.burst = 200'000;
  Subject subject(loop, naughty({"flood", std::to_string(kSize)}), limits);
  EXPECT_TRUE(subject.until_end().succeeded());
  subject.output.drain();
  EXPECT_EQ(subject.output.bytes_read(), kSize + 14);
  EXPECT_GT(subject.output.bytes_dropped(), kSize / 2);
  EXPECT_EQ(subject.output.tail().size(), 50U);

  // What was passed on and what was said to be missing make up the whole.
  std::uint64_t passed = 0, announced = 0;
  for (const std::string& line : subject.lines) {
    if (line.starts_with("[bulkhead: "))
      announced += std::stoull(line.substr(11));
    else
      passed += line.size() + 1;
  }
  EXPECT_GT(announced, 0U);
  EXPECT_EQ(announced, subject.output.bytes_dropped());
  // A line that was cut in two by what is missing was passed as two.
  EXPECT_NEAR(static_cast<double>(passed + announced), static_cast<double>(kSize + 14), 100.0);
}

TEST(Output, AfterAFloodTheLastWordsAreInTheTail) {
  Loop loop;
  Output::Limits limits;
  limits.rate = 1000;
  limits.burst = 1000;
  Subject subject(loop, naughty({"flood", "20000000"}), limits);
  subject.until_end();
  subject.output.drain();
  auto tail = subject.output.tail();
  auto last = std::find(tail.begin(), tail.end(), "the last word");
  EXPECT_NE(last, tail.end());
}

TEST(Output, TwoFloodsDoNotStopTheLoop) {
  Loop loop;
  Subject first(loop, naughty({"flood", "1000000000000"})), second(loop, naughty({"flood", "1000000000000"}));
  loop.until([&] { return first.output.bytes_dropped() > 0 && second.output.bytes_dropped() > 0; });
  Subject third(loop, naughty({"exit", "3"}));
  EXPECT_EQ(third.until_end().code, 3);
  first.output.drain();  // comes back though the flood goes on
  EXPECT_TRUE(first.child->signal(SIGKILL));
  EXPECT_TRUE(second.child->signal(SIGKILL));
  first.until_end();
  second.until_end();
}

TEST(Output, NoLineAfterItsEnd) {
  Loop loop;
  int lines = 0;
  SpawnPlan plan = naughty({"flood", "1000000"});
  std::optional<Output> output;
  output.emplace(loop.executor(), [&](Stream, std::string_view) { ++lines; });
  plan.stdout_fd = output->stdout_fd();
  Child child = std::get<Child>(launch(loop.executor(), plan));
  output->start();
  loop.until([&] { return lines > 0; });
  output.reset();
  int then = lines;
  loop.until([&] { return child.poll().has_value(); });
  loop.turn();
  EXPECT_EQ(lines, then);
  EXPECT_EQ(child.poll()->signal, SIGPIPE);
}

TEST(Output, AFifoWhoseReaderHasGoneKillsNobodyAndIsReadOn) {
  Loop loop;
  char dir[] = "/tmp/bhoutput-XXXXXX";
  ASSERT_NE(::mkdtemp(dir), nullptr);
  const Output::Names names{std::filesystem::path(dir) / "out", std::filesystem::path(dir) / "err"};
  SpawnPlan plan = naughty({"flood", "1000000"});
  int lines = 0;
  std::optional<Output> output;
  output.emplace(
      loop.executor(), [&](Stream, std::string_view) { ++lines; }, Output::Limits{}, names, Output::Open::Make);
  plan.stdout_fd = output->stdout_fd();
  Child child = std::get<Child>(launch(loop.executor(), plan));
  output->start();
  loop.until([&] { return lines > 0; });
  output.reset();
  loop.turn();
  EXPECT_FALSE(child.poll()) << "it waits until somebody reads";

  std::string last;
  output.emplace(
      loop.executor(), [&](Stream, std::string_view line) { ++lines, last = line; }, Output::Limits{}, names,
      Output::Open::Reopen);
  output->start();
  loop.until([&] { return child.poll().has_value() && last == "the last word"; });
  EXPECT_TRUE(child.poll()->succeeded());
  EXPECT_GE(lines, 10'000);
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace bulkhead::process::testing
