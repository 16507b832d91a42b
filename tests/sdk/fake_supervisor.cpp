#include "tests/sdk/fake_supervisor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "protocol/black_box.hpp"
#include "protocol/codec.hpp"
#include "protocol/environment.hpp"

namespace bulkhead::test {

namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kLastWords{500};
constexpr char kToken[] = "0123456789abcdef0123456789abcdef";

std::filesystem::path make_directory() {
  std::string name = std::filesystem::temp_directory_path() / "bulkhead-sdk-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), "mkdtemp");
  return name;
}

void make_black_box(const std::filesystem::path& path) {
  std::string page(sizeof(protocol::BlackBox), '\0');
  const std::uint64_t magic = protocol::BlackBox::kMagic;
  page.replace(0, sizeof magic, reinterpret_cast<const char*>(&magic), sizeof magic);
  std::ofstream(path, std::ios::binary) << page;
}

std::vector<std::string> receive_frames(void* socket) {
  std::vector<std::string> frames;
  int more = 1;
  for (std::size_t size = sizeof more; more != 0; zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size)) {
    zmq_msg_t message;
    zmq_msg_init(&message);
    if (zmq_msg_recv(&message, socket, 0) < 0) throw std::runtime_error(zmq_strerror(zmq_errno()));
    frames.emplace_back(static_cast<const char*>(zmq_msg_data(&message)), zmq_msg_size(&message));
    zmq_msg_close(&message);
  }
  return frames;
}

int status_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status); }

}  // namespace

/// Writes down what came.
struct FakeSupervisor::Visitor {
  FakeSupervisor& self;
  Said& of(protocol::Run run) const { return self.runs_[run].said; }

  void operator()(const protocol::Hello& hello) const {
    self.sdk_ = hello.sdk;
    protocol::Welcome welcome;
    welcome.worker_id = "test.1";
    welcome.chunk_window = self.settings_.chunk_window;
    welcome.max_body = self.settings_.max_body;
    welcome.max_chunk = self.settings_.max_chunk;
    self.send(welcome);
  }
  void operator()(const protocol::Ready& ready) const { self.concurrency_ = ready.concurrency; }
  void operator()(const protocol::Started&) const {}
  void operator()(const protocol::Heartbeat&) const {}
  void operator()(const protocol::HandBack& back) const { self.took(back.run, back.seq); }
  void operator()(const protocol::Progress& progress) const { of(progress.run).progress.emplace_back(progress.body); }
  void operator()(const protocol::Log& log) const { of(log.run).log.emplace_back(log.level, log.text); }
  void operator()(const protocol::Chunk& chunk) const {
    of(chunk.run).chunks.emplace_back(chunk.body);
    self.took(chunk.run, chunk.seq);
  }
  void operator()(const protocol::Checkpoint& checkpoint) const {
    of(checkpoint.run).checkpoints.emplace_back(checkpoint.body);
    self.took(checkpoint.run, checkpoint.seq);
  }
  void operator()(const protocol::Done& done) const {
    Said& said = of(done.run);
    said.done = true;
    said.refresh_worker = done.refresh_worker;
    said.output = done.output;
    self.took(done.run, done.seq);
  }
  void operator()(const protocol::Failed& failed) const {
    Said& said = of(failed.run);
    said.failed = true;
    said.refresh_worker = failed.refresh_worker;
    said.error = failed.error;
    said.output = failed.output;
    self.took(failed.run, failed.seq);
  }
};

FakeSupervisor::FakeSupervisor(const std::vector<std::string>& program) : FakeSupervisor(program, Settings()) {}

FakeSupervisor::FakeSupervisor(const std::vector<std::string>& program, Settings settings)
    : settings_(settings),
      directory_(make_directory()),
      context_(zmq_ctx_new()),
      socket_(zmq_socket(context_, ZMQ_ROUTER)) {
  if (zmq_bind(socket_, ("ipc://" + (directory_ / "link").string()).c_str()) != 0)
    throw std::runtime_error(zmq_strerror(zmq_errno()));
  make_black_box(directory_ / "box");
  std::ofstream(directory_ / "crash");
  start(program);
  until([&] { return concurrency_ > 0; });
}

FakeSupervisor::~FakeSupervisor() {
  close_socket();
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;  // nothing depends on it
  std::filesystem::remove_all(directory_, ignored);
}

void FakeSupervisor::start(const std::vector<std::string>& program) {
  namespace environment = protocol::environment;
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  const auto set = [&](const char* name, const std::string& value) { variables.push_back(name + ("=" + value)); };
  set(environment::kSocket, "ipc://" + (directory_ / "link").string());
  set(environment::kToken, kToken);
  set(environment::kBlackBox, directory_ / "box");
  set(environment::kCrashFile, directory_ / "crash");
  set(environment::kWorkerId, "test.1");

  std::vector<std::string> words = program;
  std::vector<char*> argv, envp;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& variable : variables) envp.push_back(variable.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  const int error = posix_spawn(&pid_, argv[0], nullptr, nullptr, argv.data(), envp.data());
  if (error != 0) throw std::system_error(error, std::generic_category(), words[0]);
}

void FakeSupervisor::send(const protocol::ToChild& message) {
  std::string envelope;
  protocol::encode(message, envelope);
  const protocol::Bodies bodies = protocol::bodies(message);
  zmq_send(socket_, routing_id_.data(), routing_id_.size(), ZMQ_SNDMORE);
  zmq_send(socket_, envelope.data(), envelope.size(), bodies.count > 0 ? ZMQ_SNDMORE : 0);
  for (int i = 0; i < bodies.count; ++i)
    zmq_send(socket_, bodies.frame[i].data(), bodies.frame[i].size(), i + 1 < bodies.count ? ZMQ_SNDMORE : 0);
}

bool FakeSupervisor::receive(std::chrono::milliseconds most) {
  zmq_pollitem_t item{socket_, 0, ZMQ_POLLIN, 0};
  if (zmq_poll(&item, 1, most.count()) <= 0) return false;
  const std::vector<std::string> frames = receive_frames(socket_);
  routing_id_ = frames.at(0);
  const std::vector<std::string_view> bodies(frames.begin() + 2, frames.end());
  const protocol::Limits limits{settings_.max_body, settings_.max_chunk};
  const auto message = protocol::decode_from_child(frames.at(1), bodies, limits);
  if (const auto* error = std::get_if<protocol::DecodeError>(&message)) throw std::runtime_error(error->text);
  std::visit(Visitor{*this}, std::get<protocol::FromChild>(message));
  return true;
}

void FakeSupervisor::took(protocol::Run run, std::uint32_t seq) {
  Run& known = runs_[run];
  if (seq != known.seq + 1) throw std::runtime_error("a message of run " + std::to_string(run) + " is out of order");
  known.seq = seq;
  if (settings_.acknowledge || known.said.ended()) acknowledge(run);
}

void FakeSupervisor::acknowledge(protocol::Run run) { send(protocol::Ack{run, runs_[run].seq}); }

protocol::Run FakeSupervisor::submit(const Submission& submission) {
  const protocol::Run run = ++last_run_;
  const std::string id = "job-" + std::to_string(run);
  protocol::RunJob message;
  message.run = run;
  message.job_id = id;
  message.attempt = submission.attempt;
  message.extra = submission.extra;
  message.input = submission.input;
  message.has_checkpoint = submission.checkpoint.has_value();
  if (submission.checkpoint) message.checkpoint = *submission.checkpoint;
  runs_[run];
  send(message);
  return run;
}

void FakeSupervisor::cancel(protocol::Run run, protocol::CancelReason reason) { send(protocol::Cancel{run, reason}); }

void FakeSupervisor::until(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) throw std::runtime_error("the handler did not do what was waited for");
    int status = 0;
    if (!receive(std::min(left, std::chrono::milliseconds(1000))) && waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      throw std::runtime_error("the handler ended with " + std::to_string(status_code(status)));
    }
  }
}

const Said& FakeSupervisor::result(protocol::Run run) {
  until([&] { return said(run).ended(); });
  return said(run);
}

int FakeSupervisor::stop() {
  send(protocol::Stop{1000});
  return await_end();
}

int FakeSupervisor::vanish() {
  close_socket();
  return await_end();
}

/// Goes on receiving, since the child may have something left to say.
int FakeSupervisor::await_end() {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (process < 0) throw std::system_error(errno, std::generic_category(), "pidfd_open");
  zmq_pollitem_t items[] = {{nullptr, process, ZMQ_POLLIN, 0}, {socket_, 0, ZMQ_POLLIN, 0}};
  while (std::chrono::steady_clock::now() < end) {
    zmq_poll(items, socket_ == nullptr ? 1 : 2, 1000);
    if (socket_ != nullptr)
      while (receive(std::chrono::milliseconds(0))) {
      }
    if (items[0].revents == 0) continue;
    // What it said last may still be on its way through the socket's thread.
    while (socket_ != nullptr && receive(kLastWords)) {
    }
    close(process);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status_code(status);
  }
  close(process);
  throw std::runtime_error("the handler did not end");
}

void FakeSupervisor::close_socket() {
  if (socket_ == nullptr) return;
  const int linger = 0;
  zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof linger);
  zmq_close(socket_);
  zmq_ctx_term(context_);
  socket_ = nullptr;
}

}  // namespace bulkhead::test
