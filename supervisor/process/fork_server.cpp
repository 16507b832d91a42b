// What this file keeps true:
//
// - Answers come in the order of the questions, so the oldest that waits is the one meant. Whatever does not fit (another
//   kind, a number that is none, a descriptor that names another process) ends the connection: a server that talks nonsense
//   is not asked again.
// - Every question is answered once: by the server, or, when the connection has ended, by us. One timer watches the oldest.
// - The Connection is shared with the children that were forked over it, since it is their parent; handlers and forks
//   under way are the ForkServer's alone and end with it.
//
// The order of an end: the connection breaks, or the process is killed; questions are answered; the process ends, which the
// owner hears last.

#include "supervisor/process/fork_server.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "protocol/environment.hpp"
#include "supervisor/process/child_state.hpp"
#include "supervisor/process/scratch.hpp"

namespace bulkhead::process {
namespace {

constexpr std::size_t kMostDescriptors = 16;

/// The fields of a packet.
std::vector<std::string_view> split(std::string_view packet) {
  std::vector<std::string_view> fields;
  while (!packet.empty()) {
    const std::size_t end = std::min(packet.find('\0'), packet.size());
    fields.push_back(packet.substr(0, end));
    packet.remove_prefix(std::min(end + 1, packet.size()));
  }
  return fields;
}

template <typename Number>
bool to_number(std::string_view text, Number& number) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

std::string request_of(const SpawnPlan& plan) {
  std::string packet("fork");
  auto add = [&](std::string_view kind, std::string_view text) { ((packet += '\0') += kind) += text; };
  if (!plan.cookie.empty()) add("env ", std::string(protocol::environment::kCookie) + '=' + plan.cookie);
  if (!plan.scratch.empty())
    for (const char* name : {"TMPDIR", kScratchVariable}) add("env ", std::string(name) + '=' + plan.scratch);
  for (const auto& [name, value] : plan.environment) add("env ", name + '=' + value);
  for (const SpawnPlan::Limit& limit : plan.limits)
    add("limit ", std::to_string(limit.resource) + ' ' + std::to_string(static_cast<long long>(limit.value.rlim_cur)) +
                      ' ' + std::to_string(static_cast<long long>(limit.value.rlim_max)));
  return packet;
}

/// The process that a pidfd names, or -1.
pid_t pid_of(int pidfd) {
  char path[64], text[1024];
  std::snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
  Descriptor file(::open(path, O_RDONLY | O_CLOEXEC));
  const ssize_t got = file ? ::read(file.get(), text, sizeof text) : 0;
  const std::string_view info(text, got > 0 ? static_cast<std::size_t>(got) : 0);
  const std::size_t at = info.find("\nPid:\t");
  if (at == std::string_view::npos) return -1;
  pid_t pid = -1;
  const std::string_view number = info.substr(at + 6);
  return to_number(number.substr(0, number.find('\n')), pid) ? pid : -1;
}

/// ended PID HOW NUMBER KIB USER_US SYSTEM_US
std::optional<ExitStatus> status_of(const std::vector<std::string_view>& fields) {
  ExitStatus status;
  int number = 0;
  std::uint64_t kib = 0;
  std::int64_t user = 0, system = 0;
  if (fields.size() != 7 || !to_number(fields[3], number) || !to_number(fields[4], kib) ||
      !to_number(fields[5], user) || !to_number(fields[6], system))
    return std::nullopt;
  if (fields[2] == "exited") {
    status.how = ExitStatus::How::Exited;
    status.code = number;
  } else if (fields[2] == "killed" || fields[2] == "core") {
    status.how = ExitStatus::How::Killed;
    status.signal = number;
    status.core_dumped = fields[2] == "core";
  }
  status.peak_rss_bytes = kib * 1024;
  status.user_time = std::chrono::microseconds(user);
  status.system_time = std::chrono::microseconds(system);
  return status;
}

}  // namespace

class ForkServer::Connection : public OtherParent, public std::enable_shared_from_this<Connection> {
 public:
  Connection(const asio::any_io_executor& executor, Descriptor socket)
      : executor_(executor), socket_(executor, socket.get()), timer_(executor) {
    socket.release();
  }

  void start(Handlers handlers) {
    handlers_ = std::move(handlers);
    read();
  }
  void fork(const SpawnPlan& plan, std::function<void(Forked)> done);
  /// The ForkServer is gone.
  void abandon() {
    handlers_ = {};
    for (Question& question : questions_) question.forked = nullptr;
  }

  void ask(pid_t pid, std::function<void(const ExitStatus&)> answer) override;
  void reap(pid_t pid) override { send("reap" + std::string(1, '\0') + std::to_string(pid), {}); }
  bool keeps_zombies() const override { return !lost_; }

  bool ready() const { return ready_ && !lost_; }
  void ended(const ExitStatus& status) {
    while (!lost_ && receive()) {
    }
    lose("the fork server " + status.describe());
    if (handlers_.ended) handlers_.ended(status);
  }
  const std::shared_ptr<Child::State>& process() const { return process_; }
  void set_process(std::shared_ptr<Child::State> process) { process_ = std::move(process); }

 private:
  struct Question {
    pid_t pid = 0;  ///< asked about; 0: a fork
    std::function<void(Forked)> forked;
    std::function<void(const ExitStatus&)> answer;
    std::chrono::steady_clock::time_point deadline;
  };
  using Received = std::pair<std::string, std::vector<Descriptor>>;

  bool send(const std::string& packet, const std::vector<int>& descriptors);
  void add(Question question);
  void read();
  bool receive();
  bool understand(const std::vector<std::string_view>& fields, std::vector<Descriptor> descriptors);
  bool forked(const std::vector<std::string_view>& fields, std::vector<Descriptor> descriptors);
  void watch_oldest();
  void lose(const std::string& reason);
  void post_failure(std::function<void(Forked)> done, std::string reason);

  asio::any_io_executor executor_;
  asio::posix::stream_descriptor socket_;
  asio::steady_timer timer_;
  Handlers handlers_;
  std::shared_ptr<Child::State> process_;  ///< to be killed where it does not answer
  std::deque<Question> questions_;
  bool ready_ = false;
  bool lost_ = false;
};

// ---- asking --------------------------------------------------------------------------------------------------------

bool ForkServer::Connection::send(const std::string& packet, const std::vector<int>& descriptors) {
  if (lost_ || packet.size() > kMaxPacket || descriptors.size() > kMostDescriptors) return false;
  iovec part{const_cast<char*>(packet.data()), packet.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)] = {};
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
    std::memcpy(CMSG_DATA(header), descriptors.data(), sizeof(int) * descriptors.size());
  }
  return ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(packet.size());
}

void ForkServer::Connection::post_failure(std::function<void(Forked)> done, std::string reason) {
  asio::post(executor_, [done = std::move(done), reason = std::move(reason)]() mutable { done(std::move(reason)); });
}

void ForkServer::Connection::fork(const SpawnPlan& plan, std::function<void(Forked)> done) {
  std::vector<int> descriptors{plan.stdout_fd, plan.stderr_fd};
  descriptors.insert(descriptors.end(), plan.cgroups.begin(), plan.cgroups.end());
  if (!ready() || questions_.size() >= kMostWaiting || !send(request_of(plan), descriptors))
    return post_failure(std::move(done), "the fork server could not be asked");
  add({.forked = std::move(done)});
}

void ForkServer::Connection::ask(pid_t pid, std::function<void(const ExitStatus&)> answer) {
  if (send("status" + std::string(1, '\0') + std::to_string(pid), {}))
    return add({.pid = pid, .answer = std::move(answer)});
  asio::post(executor_, [answer = std::move(answer)] { answer({}); });
}

void ForkServer::Connection::add(Question question) {
  question.deadline = std::chrono::steady_clock::now() + kAnswerTime;
  questions_.push_back(std::move(question));
  if (questions_.size() == 1) watch_oldest();
}

void ForkServer::Connection::watch_oldest() {
  if (questions_.empty()) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(questions_.front().deadline);
  timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    auto self = weak.lock();
    if (!error && self) self->lose("the fork server did not answer");
  });
}

// ---- answers -------------------------------------------------------------------------------------------------------

void ForkServer::Connection::read() {
  socket_.async_wait(asio::posix::descriptor_base::wait_read,
                     [weak = weak_from_this()](const boost::system::error_code& error) {
                       auto self = weak.lock();
                       if (error || !self) return;
                       while (!self->lost_ && self->receive()) {
                       }
                       if (!self->lost_) self->read();
                     });
}

/// One packet. False: there is none now.
bool ForkServer::Connection::receive() {
  char buffer[8192];
  iovec part{buffer, sizeof buffer};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  std::vector<Descriptor> descriptors;
  for (cmsghdr* header = got > 0 ? CMSG_FIRSTHDR(&message) : nullptr; header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t i = 0; i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      descriptors.emplace_back(fd);
    }
  }
  if (got <= 0) {
    lose("the fork server has closed its connection");
  } else if (!understand(split({buffer, static_cast<std::size_t>(got)}), std::move(descriptors))) {
    lose("the fork server said what nobody understands");
  }
  return !lost_;
}

bool ForkServer::Connection::understand(const std::vector<std::string_view>& fields,
                                        std::vector<Descriptor> descriptors) {
  if (fields.empty()) return false;
  const std::string_view kind = fields[0];
  const std::string text(fields.size() > 1 ? fields[1] : "");
  if (kind == "hello") {
    if (handlers_.greeted) handlers_.greeted();
    return true;
  }
  if (kind == "ready") {
    ready_ = true;
    if (handlers_.ready) handlers_.ready(text);
    return true;
  }
  if (kind == "refused") {
    if (handlers_.refused) handlers_.refused(text);
    return true;
  }
  if (questions_.empty()) return false;
  if (kind == "forked") return forked(fields, std::move(descriptors));
  const bool asked_to_fork = questions_.front().pid == 0;
  if (kind == "failed" && asked_to_fork) {
    Question question = std::move(questions_.front());
    questions_.pop_front();
    watch_oldest();
    if (question.forked) question.forked(text);
    return true;
  }
  pid_t pid = 0;
  if (kind != "ended" || asked_to_fork || !to_number(text, pid) || pid != questions_.front().pid) return false;
  const auto status = status_of(fields);
  if (!status) return false;
  Question question = std::move(questions_.front());
  questions_.pop_front();
  watch_oldest();
  question.answer(*status);
  return true;
}

bool ForkServer::Connection::forked(const std::vector<std::string_view>& fields, std::vector<Descriptor> descriptors) {
  pid_t pid = 0;
  if (fields.size() != 2 || !to_number(fields[1], pid) || pid <= 1 || descriptors.size() != 1) return false;
  if (questions_.front().pid != 0 || pid_of(descriptors[0].get()) != pid) return false;
  Question question = std::move(questions_.front());
  questions_.pop_front();
  watch_oldest();
  Child child(std::make_shared<Child::State>(executor_, pid, std::move(descriptors[0]), shared_from_this()));
  if (question.forked) question.forked(std::move(child));
  return true;
}

void ForkServer::Connection::lose(const std::string& reason) {
  if (std::exchange(lost_, true)) return;
  boost::system::error_code ignored;
  socket_.close(ignored);
  timer_.cancel();
  if (process_) process_->signal(SIGKILL);
  for (Question& question : std::exchange(questions_, {})) {
    if (question.forked) post_failure(std::move(question.forked), reason);
    if (question.answer) asio::post(executor_, [answer = std::move(question.answer)] { answer({}); });
  }
}

// ---- the server ----------------------------------------------------------------------------------------------------

ForkServer::Launched ForkServer::launch(asio::any_io_executor executor, SpawnPlan plan, Handlers handlers) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return LaunchError{Step::Prepare, errno, std::string("cannot make a socket: ") + std::strerror(errno)};
  Descriptor ours(ends[0]), theirs(ends[1]);
  plan.stdin_fd = theirs.get();
  plan.death_signal = SIGKILL;
  LaunchResult result = process::launch(executor, plan);
  if (auto* error = std::get_if<LaunchError>(&result)) return std::move(*error);
  auto connection = std::make_shared<Connection>(executor, std::move(ours));
  std::unique_ptr<ForkServer> server(new ForkServer(std::move(std::get<Child>(result)), connection));
  connection->set_process(server->process_.state());
  connection->start(std::move(handlers));
  server->process_.async_wait([weak = std::weak_ptr(connection)](const ExitStatus& status) {
    if (auto self = weak.lock()) self->ended(status);
  });
  return server;
}

ForkServer::ForkServer(Child process, std::shared_ptr<Connection> connection)
    : process_(std::move(process)), connection_(std::move(connection)) {}

ForkServer::~ForkServer() {
  connection_->abandon();
  connection_->set_process(nullptr);
}

bool ForkServer::ready() const { return connection_->ready(); }
Child& ForkServer::process() { return process_; }
void ForkServer::fork(const SpawnPlan& plan, std::function<void(Forked)> done) {
  connection_->fork(plan, std::move(done));
}

}  // namespace bulkhead::process
