// Two pipes, read on the loop as they become readable, a bounded amount a turn. Lines draw on one budget of bytes (a
// bucket that fills with time). While it is empty the output *floods*: what comes is moved from the pipe to /dev/null by
// the kernel, uncopied, every few milliseconds; the child waits no longer than that. When the bucket has filled a little,
// a line says how much is missing, and lines are passed again.
//
// The tail is fed by every line that is read, passed on or not, and drain() reads the last of what a pipe holds even
// while flooding: so the tail ends with the child's last words.
//
// Handlers hold the State weakly; it is the Output's alone, and with it the pipes close.

#include "supervisor/process/output.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <deque>
#include <optional>
#include <system_error>
#include <utility>

#include "supervisor/process/descriptor.hpp"
#include "supervisor/process/line_splitter.hpp"

namespace bulkhead::process {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kChunk = 16 * 1024;
constexpr int kChunksPerTurn = 4;
/// What a line costs at least: to handle an empty one takes time too.
constexpr std::size_t kLeastCost = 64;
constexpr std::chrono::milliseconds kFloodPause{2};
/// While flooding a pipe is made this large, if the system lets us, so that the child waits less often.
constexpr int kFloodPipe = 1024 * 1024;
/// The most that drain() reads of one pipe; what lies before it is thrown away.
constexpr std::size_t kDrain = 128 * 1024;

/// A line must fit into the budget, or a flood would never end.
Output::Limits sane(Output::Limits limits) {
  limits.rate = std::max<std::size_t>(limits.rate, 1);
  limits.burst = std::max(limits.burst, 4 * (limits.max_line + kLeastCost));
  return limits;
}

}  // namespace

struct Output::State : std::enable_shared_from_this<Output::State> {
  struct Pipe {
    Pipe(State& owner, Stream which)
        : stream(which), reading(owner.executor), pause(owner.executor), lines(owner.limits.max_line) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) < 0) throw std::system_error(errno, std::generic_category(), "pipe2");
      child_end = Descriptor(ends[1]);
      ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
      boost::system::error_code error;
      if (reading.assign(ends[0], error)) {
        ::close(ends[0]);
        throw std::system_error(error.value(), std::generic_category(), "watching a pipe");
      }
    }
    const Stream stream;
    Descriptor child_end;
    asio::posix::stream_descriptor reading;
    asio::steady_timer pause;
    LineSplitter lines;
  };

  State(asio::any_io_executor on, Sink to, Limits most)
      : executor(std::move(on)),
        sink(std::move(to)),
        limits(sane(most)),
        out(*this, Stream::Stdout),
        err(*this, Stream::Stderr),
        budget(static_cast<double>(limits.burst)) {}

  void start() {
    for (Pipe* pipe : {&out, &err}) {
      pipe->child_end.close();
      watch(*pipe);
    }
  }

  void watch(Pipe& pipe) {
    pipe.reading.async_wait(asio::posix::descriptor_base::wait_read,
                            [weak = weak_from_this(), &pipe](const boost::system::error_code& error) {
                              auto self = weak.lock();
                              if (!error && self) self->on_readable(pipe);
                            });
  }

  /// While flooding a pipe is looked at by the clock, not by what it holds. A flood lasts as long as the budget takes to
  /// recover, which nothing hinders meanwhile: a fraction of a second, also where the child has fallen silent.
  void watch_later(Pipe& pipe) {
    pipe.pause.expires_after(kFloodPause);
    pipe.pause.async_wait([weak = weak_from_this(), &pipe](const boost::system::error_code& error) {
      auto self = weak.lock();
      if (!error && self && pipe.reading.is_open()) self->on_pause(pipe);
    });
  }

  void on_pause(Pipe& pipe) {
    fill_budget();
    if (!flooding) return watch(pipe);
    if (!throw_away(pipe, kFloodPipe)) return finish(pipe);
    watch_later(pipe);
  }

  void on_readable(Pipe& pipe) {
    if (!pipe.reading.is_open()) return;
    fill_budget();
    for (int i = 0; i < kChunksPerTurn && !flooding; ++i) {
      std::size_t wanted = kChunk;
      switch (read_some(pipe, wanted)) {
        case Read::End: return finish(pipe);
        case Read::Nothing: return watch(pipe);
        case Read::Some: break;
      }
    }
    if (flooding) return watch_later(pipe);
    watch(pipe);
  }

  enum class Read : std::uint8_t { Some, Nothing, End };

  /// Reads at most `wanted` bytes, and takes what came from it.
  Read read_some(Pipe& pipe, std::size_t& wanted) {
    char buffer[kChunk];
    for (;;) {
      ssize_t got = ::read(pipe.reading.native_handle(), buffer, std::min(wanted, sizeof buffer));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno == EAGAIN ? Read::Nothing : Read::End;
      if (got == 0) return Read::End;
      auto size = static_cast<std::size_t>(got);
      wanted -= size;
      read += size;
      pipe.lines.feed({buffer, size}, [&](std::string_view line) { take_line(pipe.stream, line); });
      return Read::Some;
    }
  }

  /// False at the end of the stream.
  bool throw_away(Pipe& pipe, std::size_t most) {
    if (!nowhere) nowhere = Descriptor(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    while (most > 0) {
      ssize_t got = ::splice(pipe.reading.native_handle(), nullptr, nowhere.get(), nullptr, most, SPLICE_F_NONBLOCK);
      if (got < 0 && errno != EAGAIN && errno != EINTR) {
        char buffer[kChunk];
        got = ::read(pipe.reading.native_handle(), buffer, std::min(most, sizeof buffer));
      }
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno == EAGAIN;
      if (got == 0) return false;
      auto size = static_cast<std::size_t>(got);
      most -= size;
      read += size;
      note_dropped(size);
    }
    return true;
  }

  void take_line(Stream stream, std::string_view line) {
    std::size_t cost = std::max(line.size() + 1, kLeastCost);
    if (!flooding && budget < static_cast<double>(cost)) begin_flood();
    keep(line);
    if (flooding) return note_dropped(line.size() + 1);
    budget -= static_cast<double>(cost);
    sink(stream, line);
  }

  void begin_flood() {
    flooding = true;
    for (Pipe* pipe : {&out, &err})
      if (pipe->reading.is_open()) ::fcntl(pipe->reading.native_handle(), F_SETPIPE_SZ, kFloodPipe);
  }

  void note_dropped(std::size_t size) {
    dropped += size;
    unsaid += size;
  }

  void fill_budget() {
    auto now = steady_clock::now();
    double gained = std::chrono::duration<double>(now - filled).count() * static_cast<double>(limits.rate);
    filled = now;
    budget = std::min(budget + gained, static_cast<double>(limits.burst));
    double enough = std::min(static_cast<double>(limits.rate) / 4, static_cast<double>(limits.burst) / 2);
    if (!flooding || budget < enough) return;
    flooding = false;
    say_dropped();
  }

  void say_dropped() {
    if (unsaid == 0) return;
    std::string line = "[bulkhead: " + std::to_string(std::exchange(unsaid, 0)) +
                       " bytes of output left out here: more than " + std::to_string(limits.rate) +
                       " bytes a second came]";
    keep(line);
    sink(Stream::Stderr, line);
  }

  void keep(std::string_view line) {
    if (limits.tail_lines == 0) return;
    if (tail.size() == limits.tail_lines) {
      // The oldest one's memory is the newest one's.
      std::string oldest = std::move(tail.front());
      tail.pop_front();
      oldest.assign(line);
      tail.push_back(std::move(oldest));
    } else {
      tail.emplace_back(line);
    }
  }

  void drain() {
    fill_budget();
    for (Pipe* pipe : {&out, &err}) {
      drain(*pipe);
      flush(*pipe);
    }
    say_dropped();
  }

  void drain(Pipe& pipe) {
    int there = 0;
    if (!pipe.reading.is_open() || ::ioctl(pipe.reading.native_handle(), FIONREAD, &there) < 0) return;
    auto left = static_cast<std::size_t>(there);
    if (left > kDrain) {
      flush(pipe);
      throw_away(pipe, left - kDrain);
      left = kDrain;
    }
    while (left > 0 && read_some(pipe, left) == Read::Some) {
    }
  }

  void flush(Pipe& pipe) {
    pipe.lines.flush([&](std::string_view line) { take_line(pipe.stream, line); });
  }

  void finish(Pipe& pipe) {
    boost::system::error_code ignored;
    flush(pipe);
    pipe.pause.cancel();
    pipe.reading.close(ignored);
    if (!out.reading.is_open() && !err.reading.is_open()) say_dropped();
  }

  const asio::any_io_executor executor;
  const Sink sink;
  const Limits limits;
  Pipe out;
  Pipe err;
  double budget;
  steady_clock::time_point filled = steady_clock::now();
  bool flooding = false;
  Descriptor nowhere;
  std::deque<std::string> tail;
  std::uint64_t read = 0;
  std::uint64_t dropped = 0;
  std::uint64_t unsaid = 0;
};

Output::Output(asio::any_io_executor executor, Sink sink, Limits limits)
    : state_(std::make_shared<State>(std::move(executor), std::move(sink), limits)) {}
Output::~Output() = default;

int Output::stdout_fd() const { return state_->out.child_end.get(); }
int Output::stderr_fd() const { return state_->err.child_end.get(); }
void Output::start() { state_->start(); }
void Output::drain() { state_->drain(); }
std::vector<std::string> Output::tail() const { return {state_->tail.begin(), state_->tail.end()}; }
void Output::clear_tail() { state_->tail.clear(); }

void Output::close() {
  for (State::Pipe* pipe : {&state_->out, &state_->err})
    if (pipe->reading.is_open()) state_->finish(*pipe);
}

std::uint64_t Output::bytes_read() const { return state_->read; }
std::uint64_t Output::bytes_dropped() const { return state_->dropped; }

}  // namespace bulkhead::process
