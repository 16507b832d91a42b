// Figures of the pool beside what is underneath it, in one run: a job's round trip beside a bare ROUTER-DEALER exchange
// of the same frames over the same kind of socket; a death beside a bare fork, exec and wait.

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <csignal>
#include <cstdio>
#include <thread>

#include "tests/pool/harness.hpp"

namespace bulkhead::pool {
namespace {

using Steady = std::chrono::steady_clock;

struct Figures {
  std::vector<double> samples;  ///< microseconds
  void add(Steady::time_point since) {
    samples.push_back(std::chrono::duration<double, std::micro>(Steady::now() - since).count());
  }
  double at(double part) {
    std::sort(samples.begin(), samples.end());
    return samples[static_cast<std::size_t>(part * static_cast<double>(samples.size() - 1))];
  }
};

void line(const char* what, Figures& figures) {
  std::printf("  %-58s least %9.1f us   p50 %9.1f us   p99 %9.1f us\n", what, figures.at(0), figures.at(0.5),
              figures.at(0.99));
}

/// Frames as a job has them, answered by a thread with a DEALER of its own context.
Figures bare_exchange(const std::string& where, int times, const std::string& body) {
  void* context = zmq_ctx_new();
  void* router = zmq_socket(context, ZMQ_ROUTER);
  if (zmq_bind(router, where.c_str()) != 0) std::abort();
  const pid_t echo = fork();
  if (echo == 0) {
    void* other = zmq_ctx_new();
    void* dealer = zmq_socket(other, ZMQ_DEALER);
    zmq_setsockopt(dealer, ZMQ_ROUTING_ID, "01234567890123456789012345678901", 32);
    zmq_connect(dealer, where.c_str());
    zmq_send(dealer, "hello", 5, 0);
    for (;;) {
      zmq_msg_t envelope;
      zmq_msg_t payload;
      zmq_msg_init(&envelope);
      zmq_msg_init(&payload);
      zmq_msg_recv(&envelope, dealer, 0);
      zmq_msg_recv(&payload, dealer, 0);
      zmq_msg_send(&envelope, dealer, ZMQ_SNDMORE);
      zmq_msg_send(&payload, dealer, 0);
    }
  }
  std::string buffer(body.size() + 64, ' ');
  zmq_recv(router, buffer.data(), buffer.size(), 0);
  zmq_recv(router, buffer.data(), buffer.size(), 0);
  Figures figures;
  for (int i = 0; i < times; ++i) {
    const auto start = Steady::now();
    zmq_send(router, "01234567890123456789012345678901", 32, ZMQ_SNDMORE);
    zmq_send(router, "12345678901234567890", 20, ZMQ_SNDMORE);
    zmq_send(router, body.data(), body.size(), 0);
    for (int part = 0; part < 3; ++part) zmq_recv(router, buffer.data(), buffer.size(), 0);
    figures.add(start);
  }
  kill(echo, SIGKILL);
  waitpid(echo, nullptr, 0);
  zmq_close(router);
  zmq_ctx_term(context);
  return figures;
}

class Measurement {
 public:
  explicit Measurement(int spares, std::optional<int> window) {
    Options options;
    options.command = {raw_child(), "normal"};
    options.runtime_dir = dir_.path() / "run";
    options.cookie_prefix = "bhmeasure-" + dir_.path().filename().string() + "-";
    options.spares = spares;
    options.dispatch_window = window;
    pool_ = std::make_unique<Pool>(loop.get_executor(), std::move(options));
    core.pool = pool_.get();
    pool_->start(core);
    settle(spares + 1);
  }
  ~Measurement() {
    bool stopped = false;
    pool_->stop(milliseconds(1000), [&] { stopped = true; });
    until([&] { return stopped; });
  }

  template <class Condition>
  void until(const Condition& condition) {
    while (!condition()) {
      if (loop.stopped()) loop.restart();
      loop.run_one_for(std::chrono::seconds(1));
    }
  }
  void settle(int children) {
    until([&] {
      int up = 0;
      for (const WorkerView& view : pool_->snapshot())
        up += view.state == WorkerState::Ready || view.state == WorkerState::Spare;
      return up == children && pool_->snapshot().size() == static_cast<std::size_t>(children);
    });
  }
  pid_t serving() const {
    for (const WorkerView& view : pool_->snapshot())
      if (view.state == WorkerState::Ready) return view.pid;
    return 0;
  }

  Figures round_trips(int times, const Payload& input) {
    core.keep_outputs = false;
    Figures figures;
    for (int i = 0; i < times; ++i) {
      const auto start = Steady::now();
      const RunNumber run = core.submit(input);
      until([&] { return core.has_ended(run); });
      figures.add(start);
    }
    return figures;
  }

  double throughput(int times, int in_flight) {
    const std::size_t before = core.ended.size();
    int submitted = 0;
    const auto start = Steady::now();
    until([&] {
      const auto over = core.ended.size() - before;
      while (submitted < times && static_cast<std::size_t>(submitted) < over + static_cast<std::size_t>(in_flight)) {
        core.submit("echo 1");
        ++submitted;
      }
      return over == static_cast<std::size_t>(times);
    });
    return times / std::chrono::duration<double>(Steady::now() - start).count();
  }

  boost::asio::io_context loop{1};
  Core core;

 private:
  TempDir dir_;
  std::unique_ptr<Pool> pool_;
};

void deaths(int spares) {
  Measurement measured(spares, std::nullopt);
  Figures died;
  Figures next_ready;
  Figures all_back;
  for (int i = 0; i < 200; ++i) {
    const RunNumber run = measured.core.submit("hang");
    measured.until([&] { return measured.core.entered.contains(run); });
    const std::size_t deaths = measured.core.deaths.size();
    const WorkerNumber victim = measured.core.where[run];
    const auto start = Steady::now();
    kill(measured.serving(), SIGKILL);
    bool told = false;
    bool ready = false;
    measured.until([&] {
      if (!told && measured.core.deaths.size() > deaths) {
        told = true;
        died.add(start);
      }
      if (!ready && std::any_of(measured.core.rooms.begin(), measured.core.rooms.end(),
                                [&](const auto& room) { return room.first != victim; })) {
        ready = true;
        next_ready.add(start);
      }
      return told && ready;
    });
    measured.settle(spares + 1);
    all_back.add(start);
  }
  std::printf("%d spare(s)\n", spares);
  line("SIGKILL of a child with a job -> its job is reported", died);
  line("                              -> the next child serves", next_ready);
  line("                              -> as before, nothing left", all_back);
}

/// The least there is to a death: kill, and wait for the pidfd.
void bare_deaths() {
  Figures launched;
  Figures noticed;
  const std::string path = raw_child();
  for (int i = 0; i < 200; ++i) {
    char* argv[] = {const_cast<char*>(path.c_str()), const_cast<char*>("silent"), nullptr};
    pid_t pid = 0;
    auto start = Steady::now();
    if (posix_spawn(&pid, path.c_str(), nullptr, nullptr, argv, environ) != 0) std::abort();
    const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    pollfd ended{.fd = pidfd, .events = POLLIN, .revents = 0};
    poll(&ended, 1, 20);  // it is asleep by then
    start = Steady::now();
    kill(pid, SIGKILL);
    poll(&ended, 1, -1);
    noticed.add(start);
    waitpid(pid, nullptr, 0);
    close(pidfd);

    argv[1] = const_cast<char*>("exit");
    char zero[] = "0";
    char* exits[] = {argv[0], argv[1], zero, nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    start = Steady::now();
    if (posix_spawn(&pid, path.c_str(), &actions, nullptr, exits, environ) != 0) std::abort();
    waitpid(pid, nullptr, 0);
    launched.add(start);
    posix_spawn_file_actions_destroy(&actions);
  }
  std::printf("bare\n");
  line("SIGKILL of such a process -> its pidfd is readable", noticed);
  line("spawn, exec and exit of the same program", launched);
}

void measure_jobs() {
  TempDir dir;
  const std::string where = "ipc://" + (dir.path() / "bare").string();
  std::printf("round trip, one in flight\n");
  for (std::size_t size : {std::size_t{16}, std::size_t{65536}, std::size_t{20'000'000}}) {
    const int times = size > 1'000'000 ? 40 : 10'000;
    Figures bare = bare_exchange(where, times, std::string(size, 'x'));
    Measurement measured(0, 0);
    Figures pool = measured.round_trips(times, Payload::of("\"mirror" + std::string(size, 'x') + '"'));
    std::printf(" %zu bytes each way\n", size);
    line("bare ROUTER-DEALER exchange", bare);
    line("pool", pool);
    std::printf("  %-58s %.2f\n", "ratio of p50", pool.at(0.5) / bare.at(0.5));
  }
  std::printf("throughput of one child, 16 bytes\n");
  for (std::optional<int> window : {std::optional<int>(0), std::optional<int>()}) {
    for (int in_flight : {1, 8, 64}) {
      Measurement measured(0, window);
      measured.throughput(2'000, in_flight);
      std::printf("  window %-5s %3d in flight %30s %9.0f jobs/s\n", window ? "0" : "auto", in_flight, "",
                  measured.throughput(20'000, in_flight));
    }
  }
}

void measure_deaths() {
  deaths(0);
  deaths(1);
  bare_deaths();
}

}  // namespace
}  // namespace bulkhead::pool

/// `measure jobs` or `measure deaths`; without a word both.
int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what != "deaths") bulkhead::pool::measure_jobs();
  if (what != "jobs") bulkhead::pool::measure_deaths();
}
