#include "bench/dispatch/yardstick.hpp"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>

extern char** environ;

namespace bulkhead::bench {

Yardstick::Yardstick(std::string echo, const std::string& directory)
    : echo_(std::move(echo)), endpoint_("ipc://" + directory + "/yardstick"), context_(zmq_ctx_new()) {
  router_ = zmq_socket(context_, ZMQ_ROUTER);
  int unlimited = 0;
  zmq_setsockopt(router_, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
  zmq_setsockopt(router_, ZMQ_RCVHWM, &unlimited, sizeof unlimited);
  zmq_setsockopt(router_, ZMQ_LINGER, &unlimited, sizeof unlimited);
  if (zmq_bind(router_, endpoint_.c_str()) != 0) throw std::runtime_error("cannot bind " + endpoint_);
}

Yardstick::~Yardstick() {
  zmq_close(router_);
  zmq_ctx_term(context_);
}

int Yardstick::start() {
  char* argv[] = {echo_.data(), endpoint_.data(), nullptr};
  pid_t pid = 0;
  if (posix_spawn(&pid, echo_.c_str(), nullptr, nullptr, argv, environ) != 0)
    throw std::runtime_error("cannot start " + echo_);
  return pid;
}

void Yardstick::wait_for(const char* word) {
  char peer[256], text[16];
  int size = zmq_recv(router_, peer, sizeof peer, 0);
  peer_.assign(peer, static_cast<std::size_t>(size));
  size = zmq_recv(router_, text, sizeof text, 0);
  if (std::string(text, static_cast<std::size_t>(size)) != word)
    throw std::runtime_error("the echo said something else");
}

void Yardstick::end(int pid, bool politely) {
  if (politely) {
    zmq_send(router_, peer_.data(), peer_.size(), ZMQ_SNDMORE);
    zmq_send(router_, "stop", 4, 0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
}

Figures Yardstick::ping_pong(int count, int in_flight, std::size_t envelope, std::size_t body) {
  int pid = start();
  wait_for("ready");
  std::string head(envelope, 'e'), tail(body, 'b');
  auto* shared = tail.data();
  std::vector<Clock::time_point> sent(static_cast<std::size_t>(count));
  std::vector<double> latencies;
  latencies.reserve(sent.size());
  int next = 0, back = 0;
  auto send = [&] {
    sent[static_cast<std::size_t>(next++)] = Clock::now();
    zmq_send(router_, peer_.data(), peer_.size(), ZMQ_SNDMORE);
    zmq_send(router_, head.data(), head.size(), ZMQ_SNDMORE);
    zmq_msg_t frame;  // the body goes from where it lies, as the pool sends it
    if (body < 512) {
      zmq_msg_init_size(&frame, body);
      std::memcpy(zmq_msg_data(&frame), shared, body);
    } else {
      zmq_msg_init_data(
          &frame, shared, body, [](void*, void*) {}, nullptr);
    }
    zmq_msg_send(&frame, router_, 0);
  };
  auto began = Clock::now();
  while (next < count && next < in_flight) send();
  zmq_msg_t frame;
  while (back < count) {
    for (int more = 1; more;) {
      zmq_msg_init(&frame);
      zmq_msg_recv(&frame, router_, 0);
      more = zmq_msg_more(&frame);
      zmq_msg_close(&frame);
    }
    latencies.push_back(micros(Clock::now() - sent[static_cast<std::size_t>(back++)]));
    if (next < count) send();
  }
  auto whole = Clock::now() - began;
  end(pid, true);
  return Figures::of(std::move(latencies), whole);
}

std::vector<double> Yardstick::starts(int count) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    auto began = Clock::now();
    int pid = start();
    wait_for("ready");
    times.push_back(micros(Clock::now() - began));
    end(pid, true);
  }
  return times;
}

std::vector<double> Yardstick::deaths(int count) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    int pid = start();
    wait_for("ready");
    int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    auto began = Clock::now();
    kill(pid, SIGKILL);  // our own child, not yet waited for
    pollfd waiting{pidfd, POLLIN, 0};
    poll(&waiting, 1, -1);
    times.push_back(micros(Clock::now() - began));
    close(pidfd);
    end(pid, false);
  }
  return times;
}

}  // namespace bulkhead::bench
