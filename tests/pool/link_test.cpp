// The link alone, with DEALERs of this process at the other end.

#include "supervisor/pool/link.hpp"

#include <zmq.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <thread>

#include "tests/pool/harness.hpp"

namespace bulkhead::pool {
namespace {

/// Notes what its line reports.
struct Notes final : LineHandler {
  std::vector<Payload> bodies;
  std::vector<std::string> errors;
  int messages = 0;
  int closings = 0;
  bool after_closing = false;

  void received(Received& received) override {
    ++messages;
    after_closing = after_closing || closings > 0;
    if (auto* progress = std::get_if<protocol::Progress>(&received.message()))
      bodies.push_back(received.keep(progress->body));
  }
  void garbled(const protocol::DecodeError& error) override { errors.push_back(error.text); }
  void closed() override { ++closings; }
};

/// A child's end.
class Dealer {
 public:
  Dealer(const std::string& endpoint, std::string_view token) : context_(zmq_ctx_new()) {
    socket_ = zmq_socket(context_, ZMQ_DEALER);
    zmq_setsockopt(socket_, ZMQ_ROUTING_ID, token.data(), token.size());
    const int few = 4;
    zmq_setsockopt(socket_, ZMQ_RCVHWM, &few, sizeof few);
    zmq_connect(socket_, endpoint.c_str());
  }
  ~Dealer() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  void send(const protocol::FromChild& message) {
    std::string envelope;
    protocol::encode(message, envelope);
    const auto bodies = protocol::bodies(message);
    zmq_send(socket_, envelope.data(), envelope.size(), bodies.count ? ZMQ_SNDMORE : 0);
    if (bodies.count) zmq_send(socket_, bodies.frame[0].data(), bodies.frame[0].size(), 0);
  }
  void progress(std::string_view body) { send(protocol::Progress{.run = 1, .body = body}); }
  void heartbeat() { send(protocol::Heartbeat{}); }
  /// The next message's frames, or none after a while.
  std::vector<std::string> take(int timeout_ms = 5000) {
    std::vector<std::string> frames;
    zmq_pollitem_t item{.socket = socket_, .fd = 0, .events = ZMQ_POLLIN, .revents = 0};
    if (zmq_poll(&item, 1, timeout_ms) <= 0) return frames;
    for (int more = 1; more;) {
      zmq_msg_t part;
      zmq_msg_init(&part);
      zmq_msg_recv(&part, socket_, 0);
      frames.emplace_back(static_cast<const char*>(zmq_msg_data(&part)), zmq_msg_size(&part));
      more = zmq_msg_more(&part);
      zmq_msg_close(&part);
    }
    return frames;
  }

 private:
  void* context_;
  void* socket_;
};

class LinkTest : public testing::Test {
 protected:
  void until(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition()) {
      if (loop_.stopped()) loop_.restart();
      loop_.run_one_for(std::chrono::milliseconds(100));
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    }
  }

  TempDir dir_;
  boost::asio::io_context loop_;
  Link link_{loop_.get_executor(), dir_.path(), LinkOptions{.send_queue = 16}};
  Notes notes_;
};

TEST_F(LinkTest, TokensAreLongAndNeverTheSame) {
  const Token one = Token::random();
  EXPECT_EQ(one.view().find_first_not_of("0123456789abcdef"), std::string_view::npos);
  EXPECT_FALSE(one == Token::random());
}

TEST_F(LinkTest, PassesOnWhatAnExpectedChildSays) {
  const Token token = Token::random();
  auto line = link_.expect(token, notes_);
  EXPECT_FALSE(line->connected());
  EXPECT_EQ(line->send(protocol::Stop{}), Sent::Closed);
  Dealer child(link_.endpoint(), token.view());
  child.progress("17");
  until([&] { return notes_.messages == 1; });
  EXPECT_TRUE(line->connected());
  EXPECT_EQ(notes_.bodies[0].bytes(), "17");
  EXPECT_EQ(line->send(protocol::Cancel{.run = 1}), Sent::Yes);
  EXPECT_EQ(child.take().size(), 1u);
}

TEST_F(LinkTest, RefusesAStrangerWithAReason) {
  auto line = link_.expect(Token::random(), notes_);
  for (const std::string& name : {std::string(Token::random().view()), std::string("short"), std::string(200, 'x')}) {
    Dealer stranger(link_.endpoint(), name);
    stranger.heartbeat();
    std::vector<std::string> answer;
    until([&] { return !(answer = stranger.take(10)).empty(); });
    auto decoded = protocol::decode_to_child(answer.at(0), {}, {});
    auto& refuse = std::get<protocol::Refuse>(std::get<protocol::ToChild>(decoded));
    EXPECT_EQ(refuse.reason, protocol::RefuseReason::UnknownToken);
  }
  EXPECT_EQ(notes_.messages, 0);
}

TEST_F(LinkTest, AnExpectationEndsWithItsLine) {
  const Token token = Token::random();
  link_.expect(token, notes_).reset();
  Dealer child(link_.endpoint(), token.view());
  child.heartbeat();
  std::vector<std::string> answer;
  until([&] { return !(answer = child.take(10)).empty(); });
  EXPECT_EQ(notes_.messages, 0);
}

TEST_F(LinkTest, ASecondConnectionWithTheSameTokenDoesNotGetThrough) {
  const Token token = Token::random();
  auto line = link_.expect(token, notes_);
  Dealer child(link_.endpoint(), token.view());
  child.heartbeat();
  until([&] { return notes_.messages == 1; });
  {
    Dealer impostor(link_.endpoint(), token.view());
    impostor.heartbeat();
    impostor.progress("666");
    impostor.take(50);
    loop_.poll();
  }
  child.progress("1");
  until([&] { return notes_.messages == 2; });
  EXPECT_EQ(notes_.bodies.at(0).bytes(), "1");
  EXPECT_EQ(notes_.closings, 0);
  EXPECT_EQ(line->send(protocol::Stop{}), Sent::Yes);
  EXPECT_FALSE(child.take().empty());
}

TEST_F(LinkTest, ALineIsClosedOnceAndAfterEverythingThatWasSent) {
  for (int messages : {0, 1, 2000}) {
    Notes notes;
    const Token token = Token::random();
    auto line = link_.expect(token, notes);
    {
      Dealer child(link_.endpoint(), token.view());
      child.heartbeat();
      for (int i = 0; i < messages; ++i) child.progress(std::string(static_cast<std::size_t>(i), '1'));
    }
    until([&] { return notes.closings > 0; });
    EXPECT_EQ(notes.messages, messages + 1);
    EXPECT_EQ(notes.closings, 1);
    EXPECT_FALSE(notes.after_closing);
    EXPECT_TRUE(line->closed());
    EXPECT_EQ(line->send(protocol::Stop{}), Sent::Closed);
  }
}

TEST_F(LinkTest, DescriptorsThatAreUsedAgainConfuseNobody) {
  // Connections come and go at once, without the loop having a look in between.
  for (int round = 0; round < 30; ++round) {
    std::vector<std::unique_ptr<Notes>> notes;
    std::vector<std::unique_ptr<Line>> lines;
    for (int i = 0; i < 8; ++i) {
      const Token token = Token::random();
      notes.push_back(std::make_unique<Notes>());
      lines.push_back(link_.expect(token, *notes.back()));
      Dealer child(link_.endpoint(), token.view());
      child.heartbeat();
    }
    const Token token = Token::random();
    Notes living;
    auto line = link_.expect(token, living);
    {
      Dealer child(link_.endpoint(), token.view());
      child.heartbeat();
      until([&] {
        return living.messages == 1 &&
               std::all_of(notes.begin(), notes.end(), [](const auto& one) { return one->messages == 1; });
      });
      loop_.run_for(std::chrono::milliseconds(1));
      loop_.restart();
      EXPECT_EQ(living.closings, 0);
      EXPECT_EQ(line->send(protocol::Stop{}), Sent::Yes);
    }
    until([&] {
      return living.closings == 1 &&
             std::all_of(notes.begin(), notes.end(), [](const auto& one) { return one->closings == 1; });
    });
  }
}

TEST_F(LinkTest, ALineClosesWhileAnotherKeepsTheLinkBusy) {
  Notes busy;
  const Token noisy = Token::random();
  auto noisy_line = link_.expect(noisy, busy);
  std::atomic<bool> enough = false;
  std::atomic<bool> silent = false;
  std::thread noise([&] {
    {
      Dealer child(link_.endpoint(), noisy.view());
      while (!enough) child.heartbeat();
    }
    silent = true;
  });
  until([&] { return busy.messages > 0; });
  for (int i = 0; i < 10; ++i) {
    Notes notes;
    const Token token = Token::random();
    auto line = link_.expect(token, notes);
    {
      Dealer child(link_.endpoint(), token.view());
      for (int message = 0; message < 100; ++message) child.heartbeat();
    }
    until([&] { return notes.closings == 1; });
    EXPECT_EQ(notes.messages, 100);
  }
  enough = true;
  // What it has in hand is taken from it still: a socket that is full would hold it for ever.
  until([&] { return silent.load(); });
  noise.join();
}

TEST_F(LinkTest, AFloodLeavesTheLoopItsOtherWork) {
  const Token token = Token::random();
  auto line = link_.expect(token, notes_);
  Dealer child(link_.endpoint(), token.view());
  for (int i = 0; i < 20'000; ++i) child.heartbeat();
  int turns = 0;
  int most_between = 0;
  int last = 0;
  std::function<void()> work = [&] {
    most_between = std::max(most_between, notes_.messages - last);
    last = notes_.messages;
    ++turns;
    if (notes_.messages < 20'000) boost::asio::post(loop_, work);
  };
  boost::asio::post(loop_, work);
  until([&] { return notes_.messages == 20'000 && last == 20'000; });
  EXPECT_LE(most_between, 2 * LinkOptions{}.batch);
}

TEST_F(LinkTest, KeptBodiesOutliveTheirMessage) {
  const Token token = Token::random();
  auto line = link_.expect(token, notes_);
  Dealer child(link_.endpoint(), token.view());
  std::vector<std::string> sent;
  for (std::size_t size : {1u, 33u, 100u, 8191u, 8192u, 8193u, 100'000u, 5'000'000u})
    sent.emplace_back(size, static_cast<char>('a' + sent.size()));
  for (int round = 0; round < 3; ++round)
    for (const std::string& body : sent) child.progress(body);
  until([&] { return notes_.bodies.size() == 3 * sent.size(); });
  for (std::size_t i = 0; i < notes_.bodies.size(); ++i) EXPECT_EQ(notes_.bodies[i].bytes(), sent[i % sent.size()]);
}

TEST_F(LinkTest, AnOwnerIsHeldUntilItsBytesHaveLeft) {
  const Token token = Token::random();
  auto line = link_.expect(token, notes_);
  auto child = std::make_unique<Dealer>(link_.endpoint(), token.view());
  child->heartbeat();
  until([&] { return line->connected(); });
  for (std::size_t size : {10u, 100'000u, 10'000'000u}) {
    auto text = std::make_shared<std::string>(size, 'p');
    std::weak_ptr<std::string> watched = text;
    {
      const Payload body(text, *text);
      text.reset();
      EXPECT_EQ(line->send(protocol::RunJob{.run = 1, .job_id = "j", .input = body.bytes()}, std::span(&body, 1)),
                Sent::Yes);
    }
    const auto frames = child->take();
    ASSERT_EQ(frames.size(), 2u);
    EXPECT_EQ(frames[1], std::string(size, 'p'));
    until([&] { return watched.expired(); });
  }
}

TEST_F(LinkTest, SaysWhenAChildDoesNotRead) {
  const Token token = Token::random();
  auto line = link_.expect(token, notes_);
  Dealer child(link_.endpoint(), token.view());
  child.heartbeat();
  until([&] { return line->connected(); });
  const std::string body(100'000, 'x');
  Sent sent = Sent::Yes;
  for (int i = 0; i < 1000 && sent == Sent::Yes; ++i)
    sent = line->send(protocol::RunJob{.run = 1, .job_id = "j", .input = body});
  EXPECT_EQ(sent, Sent::Full);
  EXPECT_FALSE(child.take().empty());
}

TEST_F(LinkTest, WhatIsNoMessageIsReportedAndTheLinkGoesOn) {
  const Token token = Token::random();
  auto line = link_.expect(token, notes_);
  void* context = zmq_ctx_new();
  void* socket = zmq_socket(context, ZMQ_DEALER);
  zmq_setsockopt(socket, ZMQ_ROUTING_ID, token.view().data(), token.view().size());
  zmq_connect(socket, link_.endpoint().c_str());
  zmq_send(socket, "", 0, 0);
  zmq_send(socket, "\xc1", 1, 0);
  for (int i = 0; i < 50; ++i) zmq_send(socket, "part", 4, i < 49 ? ZMQ_SNDMORE : 0);
  until([&] { return notes_.errors.size() == 3; });
  std::string envelope;
  protocol::encode(protocol::FromChild(protocol::Heartbeat{}), envelope);
  zmq_send(socket, envelope.data(), envelope.size(), 0);
  until([&] { return notes_.messages == 1; });
  zmq_close(socket);
  zmq_ctx_term(context);
}

TEST_F(LinkTest, AFrameAboveTheLimitEndsTheConnection) {
  const Token token = Token::random();
  auto line = link_.expect(token, notes_);
  Dealer child(link_.endpoint(), token.view());
  child.heartbeat();
  until([&] { return notes_.messages == 1; });
  child.progress(std::string(70'000'000, 'x'));
  until([&] { return notes_.closings == 1; });
  EXPECT_EQ(notes_.messages, 1);
}

}  // namespace
}  // namespace bulkhead::pool
