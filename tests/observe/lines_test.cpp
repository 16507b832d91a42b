// The ring of the log's last lines: its bounds, its numbers, and who waits for a line.

#include <gtest/gtest.h>

#include <string>

#include "supervisor/observe/lines.hpp"

namespace bulkhead::observe {
namespace {

void add(Lines& lines, const std::string& text) {
  lines.add({.at_ms = 7, .level = "info", .job = "j", .worker = "w0.1", .stream = "stdout", .text = text});
}

TEST(Lines, NoneAtFirst) {
  const Lines lines;
  EXPECT_EQ(lines.first(), 1u);
  EXPECT_EQ(lines.last(), 0u);
}

TEST(Lines, ALineIsGivenAsItCame) {
  Lines lines;
  add(lines, "hello");
  const Lines::Line line = lines.at(1);
  EXPECT_EQ(line.number, 1u);
  EXPECT_EQ(line.at_ms, 7);
  EXPECT_EQ(line.level, "info");
  EXPECT_EQ(line.job, "j");
  EXPECT_EQ(line.worker, "w0.1");
  EXPECT_EQ(line.stream, "stdout");
  EXPECT_EQ(line.text, "hello");
}

TEST(Lines, TheOldestGoWhenThereAreTooMany) {
  Lines lines;
  for (std::size_t i = 0; i < Lines::kMostLines + 5; ++i) add(lines, std::to_string(i));
  EXPECT_EQ(lines.first(), 6u);
  EXPECT_EQ(lines.last(), Lines::kMostLines + 5);
  EXPECT_EQ(lines.at(6).text, "5");
}

TEST(Lines, TheOldestGoWhenTheyAreTooLarge) {
  Lines lines;
  const std::string large(2 * Lines::kLongest, 'x');
  for (int i = 0; i < 1000; ++i) add(lines, large);
  EXPECT_EQ(lines.last(), 1000u);
  EXPECT_EQ(lines.at(1000).text.size(), Lines::kLongest);
  EXPECT_LE((lines.last() - lines.first() + 1) * Lines::kLongest, Lines::kMostBytes);
}

TEST(Lines, WhoWaitsIsToldOnce) {
  Lines lines;
  int told = 0, other = 0;
  lines.wait([&] { ++told; });
  const auto waiter = lines.wait([&] { ++other; });
  lines.stop_waiting(waiter);
  add(lines, "one");
  add(lines, "two");
  EXPECT_EQ(told, 1);
  EXPECT_EQ(other, 0);
}

}  // namespace
}  // namespace bulkhead::observe
