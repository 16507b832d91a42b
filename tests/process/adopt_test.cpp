// A process that somebody else started: which it is, and how it ended.

#include "supervisor/process/adopt.hpp"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>

#include "tests/process/harness.hpp"

namespace bulkhead::process::testing {
namespace {

struct Record {
  std::int32_t pid;
  std::int32_t status;
  std::int64_t at_ns;
};

/// An init that says what it is told to.
class Init {
 public:
  Init() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    reports = std::make_shared<ReapReports>(Descriptor(ends[0]));
    to_ = Descriptor(ends[1]);
  }
  void says(pid_t pid, int status, std::int64_t earlier_ns = 0) {
    timespec at{};
    ::clock_gettime(CLOCK_BOOTTIME, &at);
    const Record record{pid, status, at.tv_sec * 1'000'000'000LL + at.tv_nsec - earlier_ns};
    EXPECT_EQ(::write(to_.get(), &record, sizeof record), static_cast<ssize_t>(sizeof record));
  }
  std::shared_ptr<ReapReports> reports;

 private:
  Descriptor to_;
};

constexpr int kExited3 = 3 << 8;
constexpr int kKilled = SIGKILL;
constexpr std::int64_t kAnHour = 3'600'000'000'000;

class AdoptTest : public ::testing::Test {
 protected:
  Loop loop_;
  Init init_;
  std::optional<ExitStatus> ended_;

  void await(Child& child) {
    child.async_wait([this](const ExitStatus& status) { ended_ = status; });
  }
};

TEST_F(AdoptTest, OneThatLivesIsSignalledAndItsEndIsTheInits) {
  Subject subject(loop_, naughty({"wait"}));
  const auto identity = identity_of(subject.child->pid());
  ASSERT_TRUE(identity);
  auto adopted = adopt(loop_.executor(), *identity, init_.reports);
  ASSERT_TRUE(adopted);
  EXPECT_FALSE(adopted->gone);
  await(adopted->child);
  loop_.turn();
  EXPECT_FALSE(ended_);
  init_.says(identity->pid, kKilled, kAnHour);  // of somebody who had the number before
  EXPECT_TRUE(adopted->child.signal(SIGTERM));
  subject.until_end();
  init_.says(identity->pid, kExited3);
  init_.says(identity->pid, kKilled);  // of somebody who had it afterwards
  loop_.until([&] { return ended_.has_value(); });
  EXPECT_EQ(ended_->how, ExitStatus::How::Exited);
  EXPECT_EQ(ended_->code, 3);
  EXPECT_FALSE(adopted->child.signal(SIGTERM));
  EXPECT_FALSE(adopted->child.signal_group(SIGKILL)) << "the number may be a stranger's";
}

TEST_F(AdoptTest, OneThatHasEndedHasItsVerdictStill) {
  Identity identity;
  {
    Subject subject(loop_, naughty({"exit", "0"}));
    identity = *identity_of(subject.child->pid());
    subject.until_end();
  }
  init_.says(identity.pid, kKilled);
  auto adopted = adopt(loop_.executor(), identity, init_.reports);
  ASSERT_TRUE(adopted);
  EXPECT_TRUE(adopted->gone);
  await(adopted->child);
  loop_.until([&] { return ended_.has_value(); });
  EXPECT_EQ(ended_->signal, SIGKILL);
}

TEST_F(AdoptTest, AnotherWithTheSameNumberIsLetBe) {
  Subject subject(loop_, naughty({"wait"}));
  Identity identity = *identity_of(subject.child->pid());
  identity.start_time -= 1;
  {
    auto adopted = adopt(loop_.executor(), identity, nullptr);
    ASSERT_TRUE(adopted);
    EXPECT_TRUE(adopted->gone);
    await(adopted->child);
    EXPECT_FALSE(adopted->child.signal(SIGKILL));
    loop_.until([&] { return ended_.has_value(); });
    EXPECT_EQ(ended_->how, ExitStatus::How::Unknown) << "nobody said";
  }
  EXPECT_FALSE(subject.child->poll());
}

TEST_F(AdoptTest, NothingIsSaidOfAnotherBoot) {
  Identity identity = *identity_of(::getpid());
  identity.boot_id = "another";
  EXPECT_FALSE(adopt(loop_.executor(), identity, init_.reports));
}

}  // namespace
}  // namespace bulkhead::process::testing
