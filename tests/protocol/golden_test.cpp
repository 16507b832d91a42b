// The bytes of every message are kept in tests/golden, one file each: a child written in another language is held to
// the same files. A test that fails here says that the wire has changed, and that old children will not understand it.
//
// When that is meant (a message or an appended field is new, and docs/PROTOCOL.md says so), write the files anew and
// look at what git shows:
//
//     BULKHEAD_WRITE_GOLDEN=1 meson test -C build protocol_golden && git diff tests/golden
//
// The same command writes the "golden_" seeds of tests/fuzz/corpus. A file is lines of text: "# " and the envelope as
// JSON, for the reader; "envelope" and its bytes; and a line "body" with its bytes for every frame behind it. Bytes are
// in hexadecimal.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <msgpack.hpp>
#include <optional>
#include <regex>
#include <sstream>

#include "../fuzz/input.hpp"
#include "samples.hpp"

namespace bulkhead::protocol {
namespace {

bool rewriting() { return std::getenv("BULKHEAD_WRITE_GOLDEN") != nullptr; }

std::filesystem::path tests_directory() {
  const char* source = std::getenv("BULKHEAD_SOURCE");
  if (source == nullptr) throw std::runtime_error("BULKHEAD_SOURCE is not set: run this through meson test");
  return std::filesystem::path(source) / "tests";
}

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

std::string from_hex(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

std::string file_text(const Sample& sample) {
  const Frames frames = frames_of(sample.message);
  std::string text = std::string("# ") + sample.envelope + "\nenvelope " + hex(frames.envelope) + "\n";
  for (const std::string& body : frames.body) text += (body.empty() ? "body" : "body " + hex(body)) + "\n";
  return text;
}

Frames frames_in(const std::string& text) {
  Frames frames;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("envelope ")) frames.envelope = from_hex(line.substr(9));
    if (line.starts_with("body")) frames.body.push_back(line.size() > 5 ? from_hex(line.substr(5)) : std::string());
  }
  return frames;
}

/// Nothing where the frames decode to the sample's message, else why not.
std::optional<DecodeError> difference(const Sample& sample, std::string_view envelope,
                                      std::span<const std::string_view> body) {
  const auto compare = [](const auto& result, const auto& expected) -> std::optional<DecodeError> {
    if (const auto* error = std::get_if<1>(&result)) return *error;
    if (std::get<0>(result) == expected) return std::nullopt;
    return DecodeError{.text = "decoded to something else"};
  };
  if (const auto* message = std::get_if<0>(&sample.message)) {
    return compare(decode_from_child(envelope, body, Limits{}), *message);
  }
  return compare(decode_to_child(envelope, body, Limits{}), std::get<1>(sample.message));
}

class Golden : public testing::TestWithParam<Sample> {
 protected:
  std::string path() const { return tests_directory() / "golden" / (std::string(GetParam().name) + ".hex"); }

  std::string golden() const {
    std::ifstream file(path());
    EXPECT_TRUE(file) << path() << " is missing; how to write it is said at the top of golden_test.cpp";
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

TEST_P(Golden, BytesAreUnchanged) {
  if (rewriting()) std::ofstream(path()) << file_text(GetParam());
  EXPECT_EQ(golden(), file_text(GetParam()));
}

TEST_P(Golden, AnotherReaderFindsTheFieldsInTheirOrder) {
  const Frames frames = frames_in(golden());
  std::ostringstream json;
  json << msgpack::unpack(frames.envelope.data(), frames.envelope.size()).get();
  EXPECT_EQ(std::regex_replace(json.str(), std::regex(R"(\\/)"), "/"), GetParam().envelope);  // it escapes slashes
}

TEST_P(Golden, DecodesToItsMessage) {
  const Frames frames = frames_in(golden());
  const auto wrong = difference(GetParam(), frames.envelope, frames.body_views());
  EXPECT_FALSE(wrong) << wrong->text;
}

TEST_P(Golden, IsRefusedWhereverItIsCutOff) {
  const Frames frames = frames_in(golden());
  for (std::size_t size = 0; size < frames.envelope.size(); ++size) {
    const std::string cut = frames.envelope.substr(0, size);  // its own allocation: a sanitizer sees one byte too many
    const auto wrong = difference(GetParam(), cut, frames.body_views());
    ASSERT_TRUE(wrong) << "cut to " << size << " bytes it was taken";
    EXPECT_EQ(wrong->kind, DecodeError::Kind::Truncated) << wrong->text;
  }
}

TEST_P(Golden, IsRefusedWithABodyTooManyOrTooFew) {
  const Frames frames = frames_in(golden());
  auto body = frames.body_views();
  const std::string_view name = GetParam().name;
  // Failed may come with or without its second body: then it is another message, but no error.
  const std::size_t least = name == "failed_output" ? 1 : body.size();
  const std::size_t most = name == "failed" ? 2 : body.size();
  for (std::size_t count = 0; count < 4; ++count) {
    if (count >= least && count <= most) continue;
    body.resize(count, "x");
    const auto wrong = difference(GetParam(), frames.envelope, body);
    ASSERT_TRUE(wrong) << "taken with " << count << " bodies";
    EXPECT_EQ(wrong->kind, DecodeError::Kind::WrongBodies) << wrong->text;
  }
}

TEST_P(Golden, FieldsOfALaterVersionAreSkipped) {
  Frames frames = frames_in(golden());
  // Three more elements: a map with a nested array, an extension, nil. The array's size is in its first byte.
  ASSERT_LE(static_cast<unsigned char>(frames.envelope[0]), 0x9c);
  frames.envelope[0] = static_cast<char>(frames.envelope[0] + 3);
  frames.envelope += from_hex("82a16b92a3787878ca3f800000a17681a1c0c3") + from_hex("d60501020304") + from_hex("c0");
  const auto wrong = difference(GetParam(), frames.envelope, frames.body_views());
  EXPECT_FALSE(wrong) << wrong->text;
}

/// Writes or compares the seed of a fuzz corpus.
void expect_seed(const std::string& path, const std::string& bytes) {
  const auto seed = tests_directory() / "fuzz" / "corpus" / path;
  if (rewriting()) std::ofstream(seed, std::ios::binary) << bytes;
  std::ifstream file(seed, std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), bytes) << seed;
}

std::string fuzz_bytes(const Frames& frames, bool sized) {
  std::vector<std::size_t> sizes;
  for (const std::string& body : frames.body) sizes.push_back(body.size());
  return fuzz::write_input(frames.envelope, sizes, sized);
}

TEST_P(Golden, SeedsTheFuzzCorpus) {
  const std::string corpus = GetParam().message.index() == 0 ? "from_child" : "to_child";
  expect_seed(corpus + "/golden_" + GetParam().name, fuzz_bytes(frames_in(golden()), false));
}

INSTANTIATE_TEST_SUITE_P(Messages, Golden, testing::ValuesIn(samples()),
                         [](const auto& sample) { return std::string(sample.param.name); });

/// What version 1 wrote, as it is read today: what it did not say has its default.
TEST(GoldenFiles, OfVersion1AreStillRead) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(tests_directory() / "golden_v1")) {
    ++files;
    std::ifstream file(entry.path());
    const Frames frames = frames_in({std::istreambuf_iterator<char>(file), {}});
    for (Sample sample : samples()) {
      if (sample.name != entry.path().stem()) continue;
      if (auto* from_child = std::get_if<FromChild>(&sample.message)) {
        auto& hello = std::get<Hello>(*from_child);
        hello.newest_version = 1;
        for (Held& held : hello.held) held.chunks = 0;
      } else {
        auto& welcome = std::get<Welcome>(std::get<ToChild>(sample.message));
        welcome.version = 1;
        welcome.orphan_buffer = Welcome().orphan_buffer;
        welcome.max_checkpoint = Welcome().max_checkpoint;
      }
      const auto wrong = difference(sample, frames.envelope, frames.body_views());
      EXPECT_FALSE(wrong) << entry.path() << ": " << wrong->text;
    }
  }
  EXPECT_EQ(files, 4u);
}

TEST(GoldenFiles, HaveASampleEach) {
  for (const auto& entry : std::filesystem::directory_iterator(tests_directory() / "golden")) {
    const std::string stem = entry.path().stem();
    bool known = false;
    for (const Sample& sample : samples()) known = known || stem == sample.name;
    EXPECT_TRUE(known) << entry.path() << " belongs to no message";
  }
}

TEST(GoldenFiles, SeedTheHandshakeCorpus) {
  // A connection in which every message of a child occurs, from either hello on.
  for (const std::string_view first : {"hello", "hello_held"}) {
    std::string bytes;
    for (const Sample& sample : samples()) {
      const std::string_view name = sample.name;
      if (sample.message.index() != 0 || (name.starts_with("hello") && name != first)) continue;
      bytes += fuzz_bytes(frames_of(sample.message), true);
    }
    expect_seed("handshake/golden_" + std::string(first), bytes);
  }
  // A run from its first reliable message to its last, with a repeat in it, and a gap behind it.
  std::string bytes = fuzz_bytes(frames_of(FromChild(Hello{.pid = 1, .sdk = "s"})), true);
  for (const std::uint32_t seq : {1, 2, 1, 2, 3, 5}) {
    bytes += fuzz_bytes(frames_of(FromChild(Chunk{.run = 7, .seq = seq, .body = "1"})), true);
  }
  expect_seed("handshake/golden_run", bytes);
  expect_seed("handshake/golden_unknown_version",
              fuzz_bytes(frames_of(FromChild(Hello{.oldest_version = 999, .newest_version = 999})), true));
}

}  // namespace
}  // namespace bulkhead::protocol
