// What the codec promises beside the golden bytes: every message survives the way there and back at the ends of its
// ranges, other writers' encodings are understood, nothing is copied, and hot messages allocate nothing.

#include "protocol/codec.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <msgpack.hpp>

#include "allocations.hpp"
#include "samples.hpp"

namespace bulkhead::protocol {
namespace {

template <class T>
constexpr T kMost = std::numeric_limits<T>::max();

template <class Message>
void expect_round_trip(const Message& message) {
  constexpr bool from_child = std::is_constructible_v<FromChild, Message>;
  using Side = std::conditional_t<from_child, FromChild, ToChild>;
  const Side side = message;
  const Frames frames = frames_of(side);
  const auto body = frames.body_views();
  const auto result = [&] {
    if constexpr (from_child)
      return decode_from_child(frames.envelope, body, Limits{});
    else
      return decode_to_child(frames.envelope, body, Limits{});
  }();
  ASSERT_EQ(result.index(), 0u) << std::get<1>(result).text;
  EXPECT_TRUE(std::get<0>(result) == side);
}

TEST(RoundTrip, NumbersAtEveryWidthOfTheirEncoding) {
  for (const std::uint64_t run : {1ull, 127ull, 128ull, 255ull, 256ull, 65535ull, 65536ull, 0xffffffffull,
                                  0x100000000ull, 0xffffffffffffffffull}) {
    expect_round_trip(Started{.run = run});
    expect_round_trip(HandBack{.run = run, .seq = static_cast<std::uint32_t>(run < kMost<std::uint32_t> ? run : 1)});
  }
  expect_round_trip(Done{.run = 1, .seq = kMost<std::uint32_t>, .run_time_us = kMaxMicroseconds, .output = ""});
  expect_round_trip(Ready{.concurrency = kMaxConcurrency});
  expect_round_trip(Stop{.grace_ms = kMaxMilliseconds});
}

TEST(RoundTrip, TextsAtEveryWidthOfTheirEncoding) {
  for (const std::size_t size : {1, 31, 32, 255, 256}) {
    const std::string id(size, 'i');
    expect_round_trip(RunJob{.run = 1, .job_id = id, .input = "{}"});
  }
  for (const std::size_t size : {0, 31, 32, 255, 256, 32768}) {
    const std::string extra(size, 'e');
    expect_round_trip(RunJob{.run = 1, .job_id = "a", .extra = extra, .input = "{}"});
  }
}

TEST(RoundTrip, ListsAtTheirLimit) {
  const std::string id(kMaxJobId, 'i');
  Hello hello{.pid = 1, .sdk = "s"};
  for (std::size_t i = 0; i < kMaxRuns; ++i) {
    hello.held.push_back({.run = kMost<std::uint64_t> - i,
                          .job_id = id,
                          .attempt = kMost<std::uint32_t>,
                          .entered = true,
                          .next_seq = kMost<std::uint32_t>,
                          .first_kept = kMost<std::uint32_t>});
  }
  expect_round_trip(hello);  // the largest hello there is still fits its envelope

  RunJob job{.run = 1, .job_id = id, .input = "{}"};
  job.acks.assign(kMaxRuns, {.run = kMost<std::uint64_t>, .seq = kMost<std::uint32_t>});
  const std::string extra(kMaxExtra, 'e');
  job.extra = extra;
  expect_round_trip(job);
}

TEST(RoundTrip, EveryLevelAndReason) {
  for (int level = 0; level <= 4; ++level)
    expect_round_trip(Log{.run = 1, .level = static_cast<Level>(level), .text = ""});
  for (int reason = 1; reason <= 5; ++reason) {
    expect_round_trip(Refuse{.reason = static_cast<RefuseReason>(reason), .text = ""});
  }
  for (int reason = 1; reason <= 3; ++reason)
    expect_round_trip(Cancel{.run = 1, .reason = static_cast<CancelReason>(reason)});
}

TEST(Decode, TakesNumbersInAnyEncoding) {
  // The run 5 as writers of other languages may put it: 8 to 64 bits wide, unsigned or signed.
  for (const std::string& number :
       {std::string("\x05", 1), std::string("\xcc\x05", 2), std::string("\xcd\0\x05", 3),
        std::string("\xce\0\0\0\x05", 5), std::string("\xcf\0\0\0\0\0\0\0\x05", 9), std::string("\xd0\x05", 2),
        std::string("\xd1\0\x05", 3), std::string("\xd2\0\0\0\x05", 5), std::string("\xd3\0\0\0\0\0\0\0\x05", 9)}) {
    const std::string envelope = "\x92\x03" + number;
    const auto result = decode_from_child(envelope, {}, Limits{});
    ASSERT_EQ(result.index(), 0u) << std::get<1>(result).text;
    EXPECT_TRUE(std::get<0>(result) == FromChild(Started{.run = 5}));
  }
}

TEST(Decode, SkipsWhatALaterVersionAppendsToARecord) {
  msgpack::sbuffer buffer;
  msgpack::pack(buffer, std::make_tuple(34, 7, "id", 1, "", std::make_tuple(std::make_tuple(5, 1, "new", 1.5)), false));
  const std::string_view body[] = {"{}"};
  const auto result = decode_to_child({buffer.data(), buffer.size()}, body, Limits{});
  ASSERT_EQ(result.index(), 0u) << std::get<1>(result).text;
  EXPECT_EQ(std::get<RunJob>(std::get<0>(result)).acks, (std::vector<Acked>{{.run = 5, .seq = 1}}));
}

TEST(Decode, SkipsDeepNestingWithoutDescending) {
  std::string envelope("\x93\x03\x05", 3);
  envelope += std::string(60'000, '\x91') + '\xc0';
  EXPECT_EQ(decode_from_child(envelope, {}, Limits{}).index(), 0u);
}

TEST(Decode, OfAForeignHelloOnlyTheVersionsAreRead) {
  // Nothing of it is as we know it but the first three elements: those are for ever.
  msgpack::sbuffer buffer;
  msgpack::pack(buffer, std::make_tuple(1, 7, 999, "pid?", 1.5));
  const auto result = decode_from_child({buffer.data(), buffer.size()}, {}, Limits{});
  ASSERT_EQ(result.index(), 0u) << std::get<1>(result).text;
  const auto& hello = std::get<Hello>(std::get<0>(result));
  EXPECT_EQ(hello.oldest_version, 7u);
  EXPECT_EQ(hello.newest_version, 999u);
}

TEST(Decode, BodiesAtTheirLimitAreTaken) {
  const Limits limits{.max_body = 64, .max_chunk = 16, .max_input = 128, .max_checkpoint = 64};
  const std::string longest(128, '1');
  const auto taken = [&](const FromChild& message) {
    const Frames frames = frames_of(message);
    return decode_from_child(frames.envelope, frames.body_views(), limits).index() == 0;
  };
  const std::string_view body = std::string_view(longest).substr(0, 64);
  EXPECT_TRUE(taken(Done{.run = 1, .seq = 1, .output = body}));
  EXPECT_TRUE(taken(Failed{.run = 1, .seq = 1, .error = body, .output = body}));
  EXPECT_TRUE(taken(Chunk{.run = 1, .seq = 1, .body = body.substr(0, 16)}));
  const Frames job = frames_of(ToChild(RunJob{.run = 1, .job_id = "a", .input = longest}));
  EXPECT_EQ(decode_to_child(job.envelope, job.body_views(), limits).index(), 0u);
}

TEST(Decode, ViewsPointIntoTheFrames) {
  const Frames frames = frames_of(ToChild(RunJob{.run = 1, .job_id = "some-id", .extra = "{}", .input = R"({"n":1})"}));
  const auto body = frames.body_views();
  const auto result = decode_to_child(frames.envelope, body, Limits{});
  const auto& job = std::get<RunJob>(std::get<0>(result));
  EXPECT_EQ(job.job_id, "some-id");
  EXPECT_GE(job.job_id.data(), frames.envelope.data());
  EXPECT_LE(job.job_id.data() + job.job_id.size(), frames.envelope.data() + frames.envelope.size());
  EXPECT_EQ(job.input.data(), frames.body[0].data());
}

TEST(Bodies, FollowTheMessage) {
  const auto count = [](const auto& message) { return bodies(message).count; };
  EXPECT_EQ(count(FromChild(Started{.run = 1})), 0);
  EXPECT_EQ(count(FromChild(Done{.run = 1, .seq = 1})), 1);  // empty, but there
  EXPECT_EQ(count(FromChild(Failed{.run = 1, .seq = 1, .error = "1"})), 1);
  EXPECT_EQ(count(FromChild(Failed{.run = 1, .seq = 1, .error = "1", .output = "2"})), 2);
  EXPECT_EQ(count(ToChild(RunJob{.run = 1, .job_id = "a", .input = "1"})), 1);
  EXPECT_EQ(count(ToChild(RunJob{.run = 1, .job_id = "a", .has_checkpoint = true, .input = "1"})), 2);
  const Bodies two = bodies(FromChild(Failed{.run = 1, .seq = 1, .error = "1", .output = "2"}));
  EXPECT_EQ(two.frame[0], "1");
  EXPECT_EQ(two.frame[1], "2");
}

TEST(Allocation, NoneForAnyMessageWithoutLists) {
  std::string envelope;
  envelope.reserve(1024);
  for (const Sample& sample : samples()) {
    const std::string_view name = sample.name;
    if (name == "hello_held" || name == "welcome_seen" || name == "run_job_full") continue;
    std::visit(
        [&](const auto& side) {
          const std::size_t before = allocations();
          encode(side, envelope);
          const Bodies all = bodies(side);
          const std::span<const std::string_view> frames(all.frame, static_cast<std::size_t>(all.count));
          bool understood = false;
          if constexpr (std::is_same_v<std::decay_t<decltype(side)>, FromChild>) {
            understood = decode_from_child(envelope, frames, Limits{}).index() == 0;
          } else {
            understood = decode_to_child(envelope, frames, Limits{}).index() == 0;
          }
          EXPECT_EQ(allocations(), before) << sample.name;
          EXPECT_TRUE(understood) << sample.name;
        },
        sample.message);
  }
}

TEST(Allocation, AListThatIsNotThereReservesNothing) {
  // 1024 held runs announced, none there.
  const std::string envelope("\x96\x01\x01\x01\x05\xa0\xdc\x04\x00", 9);
  const std::size_t before = allocations();
  const auto result = decode_from_child(envelope, {}, Limits{});
  const std::size_t during = allocations() - before;
  EXPECT_EQ(result.index(), 1u);
  EXPECT_LE(during, 2u);  // the error's text
}

TEST(Encode, ReplacesWhatWasThere) {
  std::string envelope = "something else";
  encode(FromChild(Started{.run = 5}), envelope);
  EXPECT_EQ(envelope, "\x92\x03\x05");
}

}  // namespace
}  // namespace bulkhead::protocol
