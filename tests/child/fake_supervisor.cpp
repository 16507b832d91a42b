#include "tests/child/fake_supervisor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>

#include "protocol/environment.hpp"

namespace bulkhead::test {
namespace {

namespace environment = protocol::environment;

void check(bool good, const char* operation) {
  if (!good) throw std::system_error(errno, std::generic_category(), operation);
}

}  // namespace

FakeSupervisor::FakeSupervisor(int most_unread) : most_unread_(most_unread), context_(zmq_ctx_new()) {
  char path[] = "/tmp/bulkhead-test-XXXXXX";
  check(mkdtemp(path) != nullptr, "mkdtemp");
  folder_ = path;
  const int fd = open(black_box_path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  check(fd >= 0 && ftruncate(fd, sizeof(protocol::BlackBox)) == 0, "making the black box");
  void* page = mmap(nullptr, sizeof(protocol::BlackBox), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  check(page != MAP_FAILED, "mmap");
  close(fd);
  black_box_ = static_cast<protocol::BlackBox*>(page);
  black_box_->magic.store(protocol::BlackBox::kMagic);
  std::ofstream(crash_file_path()).flush();
  return_anew();
}

FakeSupervisor::~FakeSupervisor() {
  vanish();
  zmq_ctx_term(context_);
  munmap(black_box_, sizeof(protocol::BlackBox));
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::vector<std::string> FakeSupervisor::environment() const {
  return {std::string(environment::kSocket) + "=" + endpoint(), std::string(environment::kToken) + "=" + token(),
          std::string(environment::kBlackBox) + "=" + black_box_path(),
          std::string(environment::kCrashFile) + "=" + crash_file_path()};
}

void FakeSupervisor::set_environment() const {
  for (const std::string& entry : environment()) {
    const std::size_t equals = entry.find('=');
    setenv(entry.substr(0, equals).c_str(), entry.substr(equals + 1).c_str(), 1);
  }
}

protocol::BlackBox::State FakeSupervisor::entry_of(protocol::Run run) const {
  for (const auto& entry : black_box_->entry) {
    if (entry.run.load() == run && entry.state.load() != protocol::BlackBox::State::Free) return entry.state.load();
  }
  return protocol::BlackBox::State::Free;
}

std::string FakeSupervisor::crash_file() const {
  std::ifstream file(crash_file_path(), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void FakeSupervisor::vanish() {
  if (socket_ != nullptr) zmq_close(socket_);
  socket_ = nullptr;
}

void FakeSupervisor::return_anew() {
  socket_ = zmq_socket(context_, ZMQ_ROUTER);
  const int on = 1;
  const int none = 0;
  zmq_setsockopt(socket_, ZMQ_ROUTER_MANDATORY, &on, sizeof on);
  zmq_setsockopt(socket_, ZMQ_LINGER, &none, sizeof none);
  zmq_setsockopt(socket_, ZMQ_SNDHWM, &none, sizeof none);
  zmq_setsockopt(socket_, ZMQ_RCVHWM, &most_unread_, sizeof most_unread_);
  // The predecessor's listener is closed by a thread of libzmq's, soon.
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (zmq_bind(socket_, endpoint().c_str()) != 0) {
    check(std::chrono::steady_clock::now() < end, "zmq_bind");
    poll(nullptr, 0, 1);
  }
}

void FakeSupervisor::send(const protocol::ToChild& message) {
  std::string envelope;
  protocol::encode(message, envelope);
  std::vector<std::string> frames{envelope};
  const protocol::Bodies bodies = protocol::bodies(message);
  for (int i = 0; i < bodies.count; ++i) frames.emplace_back(bodies.frame[i]);
  send_frames(frames);
}

void FakeSupervisor::send_frames(const std::vector<std::string>& frames) {
  check(zmq_send(socket_, token().data(), token().size(), ZMQ_SNDMORE) >= 0, "zmq_send");
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const int more = i + 1 < frames.size() ? ZMQ_SNDMORE : 0;
    check(zmq_send(socket_, frames[i].data(), frames[i].size(), more) >= 0, "zmq_send");
  }
}

std::optional<protocol::FromChild> FakeSupervisor::receive(std::chrono::milliseconds timeout) {
  zmq_pollitem_t item{socket_, 0, ZMQ_POLLIN, 0};
  if (zmq_poll(&item, 1, timeout.count()) <= 0) return std::nullopt;
  std::vector<std::string>& frames = heard_.emplace_back();
  zmq_msg_t frame;
  do {
    zmq_msg_init(&frame);
    check(zmq_msg_recv(&frame, socket_, 0) >= 0, "zmq_msg_recv");
    frames.emplace_back(static_cast<const char*>(zmq_msg_data(&frame)), zmq_msg_size(&frame));
    const bool more = zmq_msg_more(&frame) != 0;
    zmq_msg_close(&frame);
    if (!more) break;
  } while (true);
  if (frames.size() < 2 || frames[0] != token()) throw std::runtime_error("not from the child");
  std::vector<std::string_view> bodies(frames.begin() + 2, frames.end());
  auto decoded = protocol::decode_from_child(frames[1], bodies, {});
  if (const auto* error = std::get_if<protocol::DecodeError>(&decoded)) throw std::runtime_error(error->text);
  return std::get<protocol::FromChild>(decoded);
}

protocol::Hello FakeSupervisor::welcome(const protocol::Welcome& welcome) {
  auto hello = expect<protocol::Hello>();
  send(welcome);
  return hello;
}

void FakeSupervisor::run(protocol::Run run, std::string_view input, std::string_view checkpoint) {
  protocol::RunJob job;
  job.run = run;
  const std::string id = "job-" + std::to_string(run);
  job.job_id = id;
  job.input = input;
  job.has_checkpoint = !checkpoint.empty();
  job.checkpoint = checkpoint;
  send(job);
}

Process::Process(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                 const std::string& stdout_path) {
  const std::string program = std::string(std::getenv("BULKHEAD_BUILD")) + "/tests/child/abi_child";
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (const auto& entry : environment) envp.push_back(const_cast<char*>(entry.c_str()));
  for (char** entry = environ; *entry != nullptr; ++entry) envp.push_back(*entry);
  envp.push_back(nullptr);
  pid_ = fork();
  check(pid_ >= 0, "fork");
  if (pid_ == 0) {
    if (!stdout_path.empty()) dup2(open(stdout_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), STDOUT_FILENO);
    execve(program.c_str(), argv.data(), envp.data());
    _exit(127);
  }
  pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  check(pidfd_ >= 0, "pidfd_open");
}

Process::~Process() {
  if (!status_) {
    kill(SIGKILL);
    wait();
  }
  close(pidfd_);
}

void Process::kill(int signal) { syscall(SYS_pidfd_send_signal, pidfd_, signal, nullptr, 0); }

int Process::wait() {
  if (status_) return *status_;
  pollfd ended{pidfd_, POLLIN, 0};
  if (poll(&ended, 1, static_cast<int>(kPatience.count())) != 1) {
    kill(SIGKILL);
    waitpid(pid_, nullptr, 0);
    status_ = 0;
    throw std::runtime_error("the child did not end");
  }
  int status = 0;
  check(waitpid(pid_, &status, 0) == pid_, "waitpid");
  status_ = status;
  return status;
}

}  // namespace bulkhead::test
