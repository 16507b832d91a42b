// Nothing that a child started outlives it, and nothing else is touched.

#include "supervisor/process/strays.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "tests/process/harness.hpp"

namespace bulkhead::process::testing {
namespace {

const std::string kPrefix = "0123456789abcdef0123456789abcdef";

SpawnPlan with_cookie(std::vector<std::string> arguments, const std::string& cookie) {
  SpawnPlan plan = naughty(std::move(arguments));
  plan.cookie = cookie;
  return plan;
}

void expect_all_ended(const StrayReport& report, std::size_t number) {
  EXPECT_EQ(report.count, number);
  EXPECT_EQ(report.ended.size(), std::min(number, StrayReport::kNamed));
  EXPECT_TRUE(report.survivors.empty());
  for (const Stray& stray : report.ended) {
    EXPECT_EQ(stray.name, "naughty_child");
    EXPECT_FALSE(is_running(stray.pid));
  }
}

TEST(Strays, NoneIsTheCommonCase) {
  Loop loop;
  Subject subject(loop, with_cookie({"exit", "0"}, make_cookie(kPrefix)));
  subject.until_end();
  expect_all_ended(subject.end_strays("whatever"), 0);
}

TEST(Strays, TheGroupIsEndedAlsoWithoutACookie) {
  Loop loop;
  Subject subject(loop, naughty({"leave-in-group", "3"}));
  subject.until_end();
  EXPECT_EQ(find_strays(*subject.child, "").size(), 3U);
  expect_all_ended(subject.end_strays(""), 3);
}

TEST(Strays, DaemonsAreFoundByTheirCookie) {
  Loop loop;
  std::string cookie = make_cookie(kPrefix);
  Subject subject(loop, with_cookie({"leave-daemons", "3"}, cookie));
  subject.until_end();
  EXPECT_TRUE(find_strays(*subject.child, "").empty()) << "they have left the session";
  EXPECT_EQ(find_strays(*subject.child, cookie, Search::Everywhere).size(), 3U);
  expect_all_ended(subject.end_strays(cookie), 3);
}

TEST(Strays, ChildrenOfAStrayAreStraysWhateverTheySayOfThemselves) {
  Loop loop;
  std::string cookie = make_cookie(kPrefix);
  Subject subject(loop, with_cookie({"leave-disguised"}, cookie));
  subject.until_line("ready");
  subject.until_end();
  EXPECT_EQ(find_strays(*subject.child, cookie, Search::Everywhere).size(), 2U);
  StrayReport report = subject.end_strays(cookie);
  EXPECT_EQ(report.count, 2U);
  std::vector<std::string> names;
  for (const Stray& stray : report.ended) names.push_back(stray.name);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"naughty_child", "sleep"}));
}

TEST(Strays, AHundredAreEndedAndTheFirstOnesNamed) {
  Loop loop;
  std::string cookie = make_cookie(kPrefix);
  Subject subject(loop, with_cookie({"leave-daemons", "100"}, cookie));
  subject.until_end();
  expect_all_ended(subject.end_strays(cookie), 100);
}

TEST(Strays, OneWhoseMainThreadIsGoneIsNoZombie) {
  Loop loop;
  std::string cookie = make_cookie(kPrefix);
  Subject subject(loop, with_cookie({"leave-headless"}, cookie));
  subject.until_end();
  std::vector<Stray> found = find_strays(*subject.child, cookie);
  ASSERT_EQ(found.size(), 1U);
  loop.until([&] { return !is_running(found.front().pid); }, "the end of its main thread");
  EXPECT_EQ(find_strays(*subject.child, cookie).size(), 1U);
  expect_all_ended(subject.end_strays(cookie), 1);
  EXPECT_TRUE(find_strays(*subject.child, cookie, Search::Everywhere).empty());
}

TEST(Strays, ThoseThatGoOnForkingAreEnded) {
  Loop loop;
  std::string cookie = make_cookie(kPrefix);
  Subject subject(loop, with_cookie({"leave-breeders"}, cookie));
  subject.until_end();
  StrayReport report = subject.end_strays(cookie);
  EXPECT_TRUE(report.survivors.empty());
  EXPECT_TRUE(find_strays(*subject.child, cookie, Search::Everywhere).empty());
}

TEST(Strays, OneThatIsBecomingAnotherProgramIsWaitedFor) {
  Loop loop;
  for (int i = 0; i < 20; ++i) {
    std::string cookie = make_cookie(kPrefix);
    Subject subject(loop, with_cookie({"leave-becoming"}, cookie));
    subject.until_end();
    StrayReport report = subject.end_strays(cookie);
    EXPECT_EQ(report.count, 1U);
    EXPECT_TRUE(report.survivors.empty());
  }
}

TEST(Strays, NeighboursAreLeftAlone) {
  Loop loop;
  std::string mine = make_cookie(kPrefix), others = make_cookie(kPrefix);
  Subject neighbour(loop, with_cookie({"wait"}, others));
  neighbour.until_line("ready");
  Subject neighbours_daemons(loop, with_cookie({"leave-daemons", "1"}, others));
  neighbours_daemons.until_end();
  Subject subject(loop, with_cookie({"leave-daemons", "1"}, mine));
  subject.until_end();
  expect_all_ended(subject.end_strays(mine), 1);
  EXPECT_TRUE(is_running(neighbour.child->pid()));
  EXPECT_EQ(find_strays(*neighbours_daemons.child, others).size(), 1U);
  neighbours_daemons.end_strays(others);
}

TEST(Strays, UnderASupervisorThatTakesInOrphansItself) {
  in_subprocess([] {
    ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    Loop loop;
    std::string cookie = make_cookie(kPrefix);
    Subject running(loop, with_cookie({"wait"}, make_cookie(kPrefix)));
    running.until_line("ready");
    Subject subject(loop, with_cookie({"leave-daemons", "2"}, cookie));
    subject.until_end();
    StrayReport report = subject.end_strays(cookie);
    EXPECT_EQ(report.count, 2U);
    EXPECT_TRUE(is_running(running.child->pid()));
  });
}

TEST(Strays, WhoDoesNotDieInTimeIsNamed) {
  Loop loop;
  std::string cookie = make_cookie(kPrefix);
  Subject subject(loop, with_cookie({"leave-daemons", "1"}, cookie));
  subject.until_end();
  // No time at all: it was killed, and whether it died nobody waited to see.
  StrayReport report = subject.end_strays(cookie, std::chrono::milliseconds(0));
  EXPECT_EQ(report.count, 0U);
  ASSERT_EQ(report.survivors.size(), 1U);
  EXPECT_EQ(report.survivors.front().name, "naughty_child");
  subject.end_strays(cookie);
}

TEST(Strays, WithTheChildGoesTheWork) {
  Loop loop;
  bool called = false;
  {
    Subject subject(loop, naughty({"exit", "0"}));
    subject.until_end();
    end_strays(loop.executor(), *subject.child, "", kLimit, [&](StrayReport) { called = true; });
  }
  loop.turn();
  EXPECT_FALSE(called);
}

TEST(Leftovers, OfOneStateDirectoryAreEndedAndNoOthers) {
  Loop loop;
  std::string other = "ffff456789abcdef0123456789abcdef";
  Subject old(loop, with_cookie({"ignore-term"}, make_cookie(kPrefix)));
  old.until_line("ready");
  Subject gone(loop, with_cookie({"leave-daemons", "3"}, make_cookie(kPrefix)));
  gone.until_end();
  Subject stranger(loop, with_cookie({"wait"}, make_cookie(other)));
  stranger.until_line("ready");

  StrayReport report = end_leftovers(kPrefix, kLimit);
  EXPECT_EQ(report.count, 4U);
  EXPECT_TRUE(report.survivors.empty());
  EXPECT_EQ(old.until_end().signal, SIGKILL);
  EXPECT_TRUE(is_running(stranger.child->pid()));
  EXPECT_EQ(end_leftovers(kPrefix, kLimit).count, 0U);
}

TEST(Leftovers, OneThatIsBecomingAnotherProgramIsWaitedFor) {
  Loop loop;
  for (int i = 0; i < 20; ++i) {
    Subject gone(loop, with_cookie({"leave-becoming"}, make_cookie(kPrefix)));
    gone.until_end();
    EXPECT_EQ(end_leftovers(kPrefix, kLimit).count, 1U);
  }
}

TEST(Leftovers, NothingIsTheEmptyPrefix) {
  Loop loop;
  Subject subject(loop, with_cookie({"wait"}, make_cookie(kPrefix)));
  subject.until_line("ready");
  EXPECT_EQ(end_leftovers("", kLimit).count, 0U);
  EXPECT_TRUE(is_running(subject.child->pid()));
}

TEST(Leftovers, OneSupervisorInAnothersChildSparesItsAncestors) {
  Loop loop;
  ::setenv("BULKHEAD_COOKIE", (kPrefix + ".mine").c_str(), 1);
  in_subprocess([] { EXPECT_EQ(end_leftovers(kPrefix, kLimit).count, 0U); });
  ::unsetenv("BULKHEAD_COOKIE");
}

TEST(Cookie, ThePrefixIsTheStateDirectorysOwn) {
  TemporaryDirectory one, two;
  std::string prefix = cookie_prefix(one.path());
  EXPECT_EQ(prefix.size(), 32U);
  EXPECT_EQ(cookie_prefix(one.path()), prefix);
  EXPECT_NE(cookie_prefix(two.path()), prefix);
  std::ofstream(one.path() / "cookie") << "not a cookie";
  EXPECT_NE(cookie_prefix(one.path()), prefix) << "a damaged one is replaced";
  EXPECT_NE(cookie_prefix(one.path()).find_first_of("0123456789abcdef"), std::string::npos);
  EXPECT_THROW(cookie_prefix(one.path() / "nowhere"), std::system_error);
  EXPECT_TRUE(make_cookie(prefix).starts_with(prefix));
  EXPECT_NE(make_cookie(prefix), make_cookie(prefix));
}

}  // namespace
}  // namespace bulkhead::process::testing
