// A child without an SDK: a bare DEALER that speaks protocol/ well, or badly on purpose.
//
//   raw_child START [N]    how it starts: see main()
//
// A job's input is a JSON string with a command: see perform(). One thread; jobs one after another.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "protocol/black_box.hpp"
#include "protocol/codec.hpp"
#include "protocol/environment.hpp"

namespace {

namespace wire = bulkhead::protocol;
using Clock = std::chrono::steady_clock;

struct Job {
  wire::Run run = 0;
  std::string input;
  std::uint32_t next_seq = 1;
  std::uint32_t acked = 0;
};

struct Child {
  void* context = nullptr;
  void* socket = nullptr;
  wire::BlackBox* box = nullptr;
  std::deque<Job> waiting;
  Job* current = nullptr;
  bool stopping = false;
  bool cancelled = false;
  std::vector<std::string> frames;  ///< of the message being taken

  void open_box() {
    const char* path = std::getenv(wire::environment::kBlackBox);
    const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void* mapped = mmap(nullptr, sizeof(wire::BlackBox), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED) std::abort();
    box = static_cast<wire::BlackBox*>(mapped);
    box->pid = static_cast<std::uint64_t>(getpid());
  }

  void note(wire::Run run, wire::BlackBox::State state) {
    if (!box) return;
    for (auto& entry : box->entry) {
      const bool fits =
          state == wire::BlackBox::State::Entered ? entry.state == wire::BlackBox::State::Free : entry.run == run;
      if (!fits) continue;
      entry.run = state == wire::BlackBox::State::Free ? 0 : run;
      entry.state = state;
      return;
    }
  }

  void connect() {
    context = zmq_ctx_new();
    socket = zmq_socket(context, ZMQ_DEALER);
    const char* token = std::getenv(wire::environment::kToken);
    const char* where = std::getenv(wire::environment::kSocket);
    if (!token || !where) std::abort();
    zmq_setsockopt(socket, ZMQ_ROUTING_ID, token, std::strlen(token));
    const int few = 4;
    zmq_setsockopt(socket, ZMQ_RCVHWM, &few, sizeof few);
    if (zmq_connect(socket, where) != 0) std::abort();
  }

  void send(const wire::FromChild& message) {
    std::string envelope;
    wire::encode(message, envelope);
    const auto bodies = wire::bodies(message);
    zmq_send(socket, envelope.data(), envelope.size(), bodies.count > 0 ? ZMQ_SNDMORE : 0);
    for (int i = 0; i < bodies.count; ++i)
      zmq_send(socket, bodies.frame[i].data(), bodies.frame[i].size(), i + 1 < bodies.count ? ZMQ_SNDMORE : 0);
  }

  void acked(wire::Run run, std::uint32_t seq) {
    if (current && current->run == run)
      current->acked = std::max(current->acked, seq);
    else
      note(run, wire::BlackBox::State::Free);
  }

  void give_back(wire::Run run) {
    auto found = std::find_if(waiting.begin(), waiting.end(), [&](const Job& job) { return job.run == run; });
    if (found == waiting.end()) return;
    send(wire::HandBack{.run = run, .seq = 1});
    waiting.erase(found);
  }

  void on(const wire::Welcome&) {}
  void on(const wire::Refuse& refuse) {
    std::fprintf(stderr, "refused: %.*s\n", static_cast<int>(refuse.text.size()), refuse.text.data());
    std::exit(7);
  }
  void on(const wire::RunJob& job) {
    for (const wire::Acked& ack : job.acks) acked(ack.run, ack.seq);
    waiting.push_back({.run = job.run, .input = {}});
    for (std::string& frame : frames)
      if (frame.data() == job.input.data()) waiting.back().input = std::move(frame);
  }
  void on(const wire::Cancel& cancel) {
    if (current && current->run == cancel.run) cancelled = true;
    give_back(cancel.run);
  }
  void on(const wire::Recall& recall) { give_back(recall.run); }
  void on(const wire::Ack& ack) { acked(ack.run, ack.seq); }
  void on(const wire::Stop&) {
    while (!waiting.empty()) give_back(waiting.front().run);
    stopping = true;
  }

  /// Takes one message; false if none came in time.
  bool take(int timeout_ms) {
    zmq_pollitem_t item{.socket = socket, .fd = 0, .events = ZMQ_POLLIN, .revents = 0};
    if (zmq_poll(&item, 1, timeout_ms) <= 0) return false;
    frames.clear();
    int more = 1;
    while (more) {
      zmq_msg_t part;
      zmq_msg_init(&part);
      if (zmq_msg_recv(&part, socket, 0) < 0) std::abort();
      frames.emplace_back(static_cast<const char*>(zmq_msg_data(&part)), zmq_msg_size(&part));
      more = zmq_msg_more(&part);
      zmq_msg_close(&part);
    }
    std::vector<std::string_view> bodies(frames.begin() + 1, frames.end());
    auto decoded = wire::decode_to_child(frames[0], bodies, {});
    if (auto* message = std::get_if<wire::ToChild>(&decoded)) std::visit([this](const auto& m) { on(m); }, *message);
    return true;
  }

  /// Waits until everything sent has left the process.
  void flush() {
    zmq_close(socket);
    zmq_ctx_term(context);
    socket = context = nullptr;
  }

  void done(std::string_view output, bool refresh = false, std::uint64_t run_time_us = 10) {
    send(wire::Done{.run = current->run,
                    .seq = current->next_seq++,
                    .run_time_us = run_time_us,
                    .refresh_worker = refresh,
                    .output = output});
    note(current->run, wire::BlackBox::State::Left);
  }

  void started() { send(wire::Started{.run = current->run}); }

  void chunks(int count, bool mind_credit) {
    for (int i = 0; i < count; ++i) {
      while (mind_credit && current->next_seq - current->acked > 32) take(-1);
      send(wire::Chunk{.run = current->run, .seq = current->next_seq++, .body = std::to_string(i)});
    }
    done("\"chunks\"");
  }

  void raw(std::vector<std::string> parts) {
    for (std::size_t i = 0; i < parts.size(); ++i)
      zmq_send(socket, parts[i].data(), parts[i].size(), i + 1 < parts.size() ? ZMQ_SNDMORE : 0);
  }

  void perform(const std::string& command, long number, const std::string& rest);
  void misbehave(const std::string& command, long number);
  void loop();
};

[[noreturn]] void sleep_for_ever() {
  for (;;) pause();
}

void Child::perform(const std::string& command, long number, const std::string& rest) {
  if (command == "echo") return done('"' + rest + '"');
  if (command == "mirror") return done(current->input);
  if (command == "pid") return done(std::to_string(getpid()));
  if (command == "refresh") return done(std::to_string(getpid()), true);
  if (command == "spin") {
    const auto until = Clock::now() + std::chrono::microseconds(number);
    while (Clock::now() < until) {
    }
    return done("1", false, static_cast<std::uint64_t>(number));
  }
  if (command == "sleep") {
    started();
    const auto until = Clock::now() + std::chrono::milliseconds(number);
    while (Clock::now() < until && !cancelled) take(1);
    return done(cancelled ? "\"cancelled\"" : "\"slept\"", false, static_cast<std::uint64_t>(number) * 1000);
  }
  if (command == "fail")
    return send(wire::Failed{.run = current->run, .seq = current->next_seq++, .error = "\"no\"", .output = "{}"});
  if (command == "print") {
    std::printf("%s\n", rest.c_str());
    std::fprintf(stderr, "error %s\n", rest.c_str());
    std::fflush(stdout);
    return done("\"printed\"");
  }
  if (command == "chunks") return chunks(static_cast<int>(number), true);
  if (command == "logs") {
    for (long i = 0; i < number; ++i)
      send(wire::Log{.run = current->run, .level = wire::Level::Info, .text = "line " + std::to_string(i)});
    return done("\"logged\"");
  }
  if (command == "progress") {
    for (long i = 0; i <= number; ++i) send(wire::Progress{.run = current->run, .body = std::to_string(i)});
    while (!cancelled) take(10);
    return done("\"progressed\"");
  }
  if (command == "scratch") {
    const std::filesystem::path scratch = std::getenv("TMPDIR");
    const auto files = std::distance(std::filesystem::directory_iterator(scratch), {});
    std::ofstream(scratch / "left") << "behind";
    return done(std::to_string(files), number != 0);
  }
  misbehave(command, number);
}

void Child::misbehave(const std::string& command, long number) {
  if (command == "hang") {
    started();
    for (;;) take(-1);
  }
  if (command == "die") {
    started();
    std::signal(static_cast<int>(number), SIG_DFL);  // whatever a sanitizer makes of it
    kill(getpid(), static_cast<int>(number));
    sleep_for_ever();
  }
  if (command == "exit") _exit(static_cast<int>(number));
  if (command == "last") {  // the result has left the process when it dies
    done('"' + std::string(static_cast<std::size_t>(number), 'x') + '"');
    flush();
    kill(getpid(), SIGKILL);
    sleep_for_ever();
  }
  if (command == "lastexit") {
    done("\"bye\"");
    flush();
    _exit(static_cast<int>(number));
  }
  if (command == "close") {
    flush();
    sleep_for_ever();
  }
  if (command == "inside") {  // says in its black box that it gave a result, which nobody got
    note(current->run, wire::BlackBox::State::Left);
    kill(getpid(), SIGKILL);
    sleep_for_ever();
  }
  if (command == "deaf") {
    started();
    sleep_for_ever();
  }
  if (command == "garbage") raw({"\xc1 this is no envelope"});
  if (command == "frames") raw({"a", "b", "c", "d", "e"});
  if (command == "notjson") return done("}{");
  if (command == "gap") send(wire::Chunk{.run = current->run, .seq = 7, .body = "1"});
  if (command == "nobody") {  // a result without its body
    std::string envelope;
    wire::encode(wire::Failed{.run = current->run, .seq = 1}, envelope);
    raw({envelope});
  }
  if (command == "huge") done('"' + std::string(static_cast<std::size_t>(number), 'x') + '"');
  if (command == "flood") return chunks(static_cast<int>(number), false);
  if (command == "stray") {  // a process that holds the connection, and left the session
    if (fork() == 0) {
      setsid();
      sleep_for_ever();
    }
    kill(getpid(), SIGKILL);
    sleep_for_ever();
  }
  while (!stopping && !cancelled) take(-1);
}

void Child::loop() {
  for (;;) {
    while (take(waiting.empty() && !stopping ? -1 : 0)) {
    }
    if (!waiting.empty()) {
      Job job = std::move(waiting.front());
      waiting.pop_front();
      current = &job;
      cancelled = false;
      note(job.run, wire::BlackBox::State::Entered);
      const std::size_t length = std::max<std::size_t>(job.input.size(), 2) - 2;
      const std::string text =
          job.input.starts_with("\"mirror") ? "mirror" : job.input.substr(std::min<std::size_t>(1, length), length);
      const auto space = std::min(text.find(' '), text.size());
      const std::string rest = text.substr(std::min(space + 1, text.size()));
      perform(text.substr(0, space), std::atol(rest.c_str()), rest);
      current = nullptr;
    } else if (stopping) {
      flush();
      std::exit(0);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string start = argc > 1 ? argv[1] : "normal";
  const int number = argc > 2 ? std::atoi(argv[2]) : 1;
  if (start == "exit") {
    std::fprintf(stderr, "cannot load the model\n");
    return number;
  }
  if (start == "silent") sleep_for_ever();
  if (start == "stubborn") {
    std::signal(SIGTERM, SIG_IGN);
    sleep_for_ever();
  }
  Child child;
  if (start == "half") {  // half a ZMTP greeting
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    const char* where = std::getenv(wire::environment::kSocket);
    std::strncpy(address.sun_path, where + std::strlen("ipc://"), sizeof address.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
    if (write(fd, "\xff\0\0\0\0", 5) != 5) std::abort();
    sleep_for_ever();
  }
  child.open_box();
  child.connect();
  if (start == "garbage") {
    child.raw({"\xc1 hello"});
    while (true) child.take(-1);
  }
  if (start == "early") {
    child.send(wire::Ready{.concurrency = 1});
    while (true) child.take(-1);
  }
  if (start == "version") {
    child.send(wire::Hello{.oldest_version = 999, .newest_version = 999, .pid = 1, .sdk = "raw"});
    while (true) child.take(-1);
  }
  child.send(wire::Hello{.pid = static_cast<std::uint64_t>(getpid()), .sdk = "raw"});
  if (start == "mute") sleep_for_ever();
  if (start == "slow") std::this_thread::sleep_for(std::chrono::milliseconds(number));
  if (start == "once") {  // is ready, and dies before it can be given anything
    child.send(wire::Ready{.concurrency = 1});
    child.flush();
    return 3;
  }
  child.send(wire::Ready{.concurrency = start == "normal" ? static_cast<std::uint32_t>(number) : 1});
  child.loop();
}
