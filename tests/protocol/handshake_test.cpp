#include "protocol/handshake.hpp"

#include <gtest/gtest.h>

namespace bulkhead::protocol {
namespace {

Hello offering(std::uint32_t oldest, std::uint32_t newest) {
  return {.oldest_version = oldest, .newest_version = newest, .pid = 1, .sdk = "test"};
}

TEST(Negotiate, TakesTheHighestVersionBothKnow) {
  struct Row {
    Versions theirs, ours;
    std::uint32_t expected;
  };
  for (const Row& row : {Row{{1, 1}, {1, 1}, 1}, Row{{1, 3}, {1, 1}, 1}, Row{{1, 1}, {1, 3}, 1}, Row{{1, 5}, {2, 3}, 3},
                         Row{{2, 3}, {1, 5}, 3}, Row{{1, 3}, {3, 5}, 3}, Row{{3, 5}, {1, 3}, 3}, Row{{2, 4}, {2, 4}, 4},
                         Row{{1, 0xffffffff}, {1, 2}, 2}}) {
    const auto answer = negotiate(offering(row.theirs.oldest, row.theirs.newest), row.ours);
    ASSERT_EQ(answer.index(), 0u) << std::get<1>(answer).text;
    EXPECT_EQ(std::get<0>(answer), row.expected);
  }
}

TEST(Negotiate, TellsWhoIsTooOld) {
  const auto newer = negotiate(offering(4, 999), {1, 3});
  ASSERT_EQ(newer.index(), 1u);
  EXPECT_EQ(std::get<1>(newer).reason, RefuseReason::Version);
  EXPECT_EQ(std::get<1>(newer).text,
            "the handler's SDK speaks protocol versions 4 to 999, this supervisor versions 1 to 3: update bulkhead, or "
            "build the handler with an SDK of its release");

  const auto older = negotiate(offering(1, 1), {2, 2});
  ASSERT_EQ(older.index(), 1u);
  EXPECT_EQ(std::get<1>(older).reason, RefuseReason::Version);
  EXPECT_EQ(
      std::get<1>(older).text,
      "the handler's SDK speaks protocol version 1, this supervisor version 2: build the handler with the SDK that "
      "came with this bulkhead");
}

TEST(Negotiate, RefusesWhatIsNoRange) {
  for (const Hello& hello : {offering(2, 1), offering(0, 1), offering(0, 0), offering(0xffffffff, 1)}) {
    const auto answer = negotiate(hello);
    ASSERT_EQ(answer.index(), 1u);
    EXPECT_EQ(std::get<1>(answer).reason, RefuseReason::Malformed);
    EXPECT_NE(std::get<1>(answer).text.find("which is no range"), std::string::npos);
  }
}

TEST(Negotiate, RefusesARunHeldTwice) {
  Hello hello = offering(1, 1);
  hello.held = {{.run = 7, .job_id = "a"}, {.run = 5, .job_id = "b"}, {.run = 7, .job_id = "c"}};
  const auto answer = negotiate(hello);
  ASSERT_EQ(answer.index(), 1u);
  EXPECT_EQ(std::get<1>(answer).reason, RefuseReason::Malformed);
  EXPECT_EQ(std::get<1>(answer).text, "the hello names the held run 7 twice");
  hello.held[2].run = 8;
  EXPECT_EQ(negotiate(hello).index(), 0u);
}

TEST(Sequence, TakesOneAfterTheOther) {
  using Verdict = Sequence::Verdict;
  Sequence sequence;
  EXPECT_EQ(sequence.take(2), Verdict::Gap);
  EXPECT_EQ(sequence.seen(), 0u);
  EXPECT_EQ(sequence.take(1), Verdict::Next);
  EXPECT_EQ(sequence.take(1), Verdict::Repeat);
  EXPECT_EQ(sequence.take(2), Verdict::Next);
  EXPECT_EQ(sequence.take(1), Verdict::Repeat);
  EXPECT_EQ(sequence.take(4), Verdict::Gap);
  EXPECT_EQ(sequence.take(0), Verdict::Repeat);
  EXPECT_EQ(sequence.seen(), 2u);
}

TEST(Sequence, GoesOnWhereItWasLeftAndDoesNotWrap) {
  using Verdict = Sequence::Verdict;
  Sequence sequence(0xfffffffe);
  EXPECT_EQ(sequence.take(0xffffffff), Verdict::Next);
  EXPECT_EQ(sequence.take(0), Verdict::Repeat);
  EXPECT_EQ(sequence.take(1), Verdict::Repeat);
  EXPECT_EQ(sequence.seen(), 0xffffffffu);
}

}  // namespace
}  // namespace bulkhead::protocol
