// What is decided about webhooks: URLs, signatures, verdicts, pauses, turns.

#include <gtest/gtest.h>

#include <vector>

#include "supervisor/job/webhook_url.hpp"
#include "supervisor/source/webhook_policy.hpp"
#include "supervisor/source/webhook_turns.hpp"

namespace bulkhead {
namespace {

using namespace std::chrono_literals;
using Verdict = WebhookVerdict;
using End = WebhookTurns::End;

// ---- URLs ----------------------------------------------------------------------------------------------------------

TEST(WebhookUrl, SaysTheHostAndNothingSecret) {
  EXPECT_EQ(webhook_host("http://example.org"), "example.org");
  EXPECT_EQ(webhook_host("https://example.org/a?b#c"), "example.org");
  EXPECT_EQ(webhook_host("HTTPS://user:pa@ss@example.org:8443/x@y"), "example.org:8443");
  EXPECT_EQ(webhook_host("http://10.0.0.1:80?token=1"), "10.0.0.1:80");
  EXPECT_EQ(webhook_host("http://[::1]:9000/x"), "[::1]:9000");
  EXPECT_EQ(webhook_host("http://[fe80::1]"), "[fe80::1]");
  EXPECT_EQ(webhook_host("http://my_service.local/"), "my_service.local");
}

TEST(WebhookUrl, RefusesWhatIsNone) {
  for (std::string_view url : {"",
                               "http",
                               "http://",
                               "https:///x",
                               "http://:80/",
                               "http://@/",
                               "ftp://example.org",
                               "//example.org",
                               "example.org",
                               "http:example.org",
                               "http://exa mple.org",
                               "http://example.org/\r\nX: y",
                               "http://example.org/\x7f",
                               "http://\xC3\xBC.org/",
                               "http://a:0/",
                               "http://a:65536/",
                               "http://a:b/",
                               "http://a:/",
                               "http://[::1/",
                               "http://[]/",
                               "http://[::1]x/",
                               "http://a\\@b/",
                               "http://a%2eb/",
                               "file:///etc/passwd",
                               "gopher://a/"})
    EXPECT_FALSE(webhook_host(url)) << url;
  EXPECT_TRUE(webhook_host("http://a/" + std::string(kWebhookUrlMax - 9, 'x')));
  EXPECT_FALSE(webhook_host("http://a/" + std::string(kWebhookUrlMax - 8, 'x')));
}

// ---- signatures ----------------------------------------------------------------------------------------------------

// Made with: printf '%s' '1700000000.{"id":"a"}' | openssl dgst -sha256 -hmac whsec
TEST(WebhookSignature, IsAnHmacOfTimeAndBody) {
  std::vector<Payload> body{Payload::of(R"({"id":)"), Payload::of(R"("a")"), Payload(), Payload::of("}")};
  EXPECT_EQ(webhook_signature("whsec", 1'700'000'000, body),
            "t=1700000000,v1=fdd6a42ef3a01f0fe29b825302049edc22e364780cd7db03489febf14ce4b734");
  EXPECT_EQ(webhook_signature("whsec", 1'700'000'000, std::vector{Payload::of(R"({"id":"a"})")}),
            webhook_signature("whsec", 1'700'000'000, body));
}

TEST(WebhookSignature, TakesSecretsOfAnyLength) {
  std::vector<Payload> body{Payload::of("{}")};
  EXPECT_EQ(webhook_signature(std::string(64, 'k'), 1, body),
            "t=1,v1=3d20fcefc11ffb12bc7de871c6bab7822af2b326df1c32048f0670668f96d061");
  EXPECT_EQ(webhook_signature(std::string(65, 'k'), 1, body),
            "t=1,v1=a2cba6b6fdd47d636c414dd5b0595fb020fd19798f80c392eabfe6dbbb945c31");
}

// ---- verdicts and pauses -------------------------------------------------------------------------------------------

HttpResult answer(int status, std::string error = {}) {
  HttpResult result;
  result.status = status;
  result.error = std::move(error);
  return result;
}

TEST(WebhookVerdict, OnlyA2xxIsTaken) {
  for (int status : {200, 201, 202, 204, 299}) EXPECT_EQ(judge(answer(status)), Verdict::Taken) << status;
  for (int status : {0, 301, 304, 400, 401, 403, 404, 408, 422, 425, 429, 500, 502, 503, 599})
    EXPECT_EQ(judge(answer(status)), Verdict::TryAgain) << status;
  EXPECT_EQ(judge(answer(410)), Verdict::Hopeless);
  HttpResult no_url = answer(0, "no URL");
  no_url.hopeless = true;
  EXPECT_EQ(judge(no_url), Verdict::Hopeless);
}

TEST(WebhookVerdict, AStatusThatCameCountsWhateverCameBehindIt) {
  EXPECT_EQ(judge(answer(200, "timed out")), Verdict::Taken);
  EXPECT_EQ(fault_of(answer(503, "timed out")), "status 503");
  EXPECT_EQ(fault_of(answer(302, "too many redirects")), "too many redirects");
  EXPECT_EQ(fault_of(answer(0, "refused")), "refused");
}

TEST(WebhookPause, DoublesUpToSixtyTimesTheFirst) {
  WebhookRetries retries;
  std::vector<milliseconds> pauses;
  milliseconds all{0};
  for (int tries = 1; tries < retries.tries; ++tries) {
    pauses.push_back(pause_after(tries, {}, retries, 0.5));
    all += pauses.back();
  }
  EXPECT_EQ(std::vector(pauses.begin(), pauses.begin() + 8),
            (std::vector<milliseconds>{1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}));
  EXPECT_GE(all, 10min);
  EXPECT_LE(all, 11min);
  EXPECT_EQ(pause_after(1'000, {}, retries, 0.5), 60s);
}

TEST(WebhookPause, HasJitter) {
  EXPECT_EQ(pause_after(2, {}, {}, 0.0), 1'600ms);
  EXPECT_EQ(pause_after(2, {}, {}, 1.0), 2'400ms);
}

TEST(WebhookPause, IsWhatTheReceiverWishesWithinBounds) {
  EXPECT_EQ(pause_after(1, 90s, {}, 0.5), 90s);
  EXPECT_EQ(pause_after(7, 3s, {}, 0.5), 60s);  // never sooner than without
  EXPECT_EQ(pause_after(1, 24h, {}, 0.5), 5min);
}

// ---- turns ---------------------------------------------------------------------------------------------------------

std::vector<WebhookTurns::Number> all(WebhookTurns& turns) {
  std::vector<WebhookTurns::Number> numbers;
  while (auto next = turns.next()) numbers.push_back(*next);
  return numbers;
}

using Numbers = std::vector<WebhookTurns::Number>;

TEST(WebhookTurns, HostsTakeTurns) {
  WebhookTurns turns({.at_once = 5, .per_host = 8});
  for (WebhookTurns::Number number : {1, 2, 3, 4}) turns.enter(number, "a");
  turns.enter(5, "b");
  turns.enter(6, "c");
  EXPECT_EQ(all(turns), (Numbers{1, 5, 6, 2, 3}));
  turns.end("c", End::Taken);
  EXPECT_EQ(all(turns), Numbers{4});
}

TEST(WebhookTurns, AHostHasSoManyPlacesAndNoMore) {
  WebhookTurns turns({.at_once = 10, .per_host = 2});
  for (WebhookTurns::Number number : {1, 2, 3, 4}) turns.enter(number, "a");
  turns.enter(5, "b");
  EXPECT_EQ(all(turns), (Numbers{1, 5, 2}));
  turns.end("a");
  EXPECT_EQ(all(turns), Numbers{3});
}

TEST(WebhookTurns, ASlowHostHasFewerUntilItTakesSomething) {
  WebhookTurns turns({.at_once = 10, .per_host = 4, .per_slow_host = 1});
  turns.enter(1, "a");
  EXPECT_EQ(all(turns), Numbers{1});
  turns.end("a", End::Slow);
  for (WebhookTurns::Number number : {2, 3, 4, 5, 6}) turns.enter(number, "a");
  EXPECT_EQ(all(turns), Numbers{2});
  turns.end("a");  // says nothing about it
  EXPECT_EQ(all(turns), Numbers{3});
  turns.end("a", End::Taken);
  EXPECT_EQ(all(turns), (Numbers{4, 5, 6}));
}

TEST(WebhookTurns, WhoLeavesIsNotCalled) {
  WebhookTurns turns({.at_once = 1, .per_host = 1});
  turns.enter(1, "a");
  turns.enter(2, "a");
  turns.enter(3, "b");
  turns.leave(1, "a");
  turns.leave(3, "b");
  turns.enter(4, "b");
  EXPECT_EQ(all(turns), Numbers{2});
  EXPECT_FALSE(turns.idle());
  turns.end("a");
  EXPECT_EQ(all(turns), Numbers{4});
  turns.end("b");
  EXPECT_TRUE(turns.idle());
}

TEST(WebhookTurns, DeadHostsLeavePlacesForTheOthers) {
  WebhookTurns turns({});
  auto name = [](int host) { return "dead" + std::to_string(host); };
  for (int host = 0; host < 10; ++host) {
    turns.enter(1, name(host));
    turns.next();
    turns.end(name(host), End::Slow);
  }
  for (int host = 0; host < 10; ++host)
    for (WebhookTurns::Number number = 0; number < 100; ++number) turns.enter(number, name(host));
  EXPECT_EQ(all(turns).size(), 20U);
  turns.enter(7, "alive");
  EXPECT_EQ(all(turns), Numbers{7});
}

}  // namespace
}  // namespace bulkhead
