// Two pipes, read on the loop as they become readable, a bounded amount a turn. Lines draw on one budget of bytes (a
// bucket that fills with time). While it is empty the output *floods*: every few milliseconds all but the newest of
// what came is moved from the pipe to /dev/null by the kernel, uncopied; the child waits no longer than that. When
// the bucket has filled a little, a line says how much is missing, and lines are passed again.
//
// The tail is fed by every line that is read, passed on or not, and the newest bytes are never thrown away: so after
// a drain the tail ends with the child's last words, flood or not.
//
// Handlers hold the State weakly; it is the Output's alone, and with it the pipes close.

#include "supervisor/process/output.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
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

struct Ends {
  Descriptor ours;
  Descriptor child_s;
};

Ends make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) throw std::system_error(errno, std::generic_category(), "pipe2");
  Ends pipe{Descriptor(ends[0]), Descriptor(ends[1])};
  ::fcntl(pipe.ours.get(), F_SETFL, O_NONBLOCK);
  return pipe;
}

Ends open_fifo(const std::filesystem::path& name, Output::Open how) {
  auto fail = [&](const char* operation) {
    throw std::system_error(errno, std::generic_category(), operation + name.string());
  };
  if (how == Output::Open::Make) {
    ::unlink(name.c_str());
    if (::mkfifo(name.c_str(), 0600) < 0) fail("make the FIFO ");
  }
  Ends fifo;
  fifo.ours = Descriptor(::open(name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
  if (!fifo.ours) fail("open ");
  if (how == Output::Open::Reopen) return fifo;
  fifo.child_s = Descriptor(::open(name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fifo.child_s) fail("open ");
  return fifo;
}

}  // namespace

struct Output::State : std::enable_shared_from_this<Output::State> {
  struct Pipe {
    Pipe(State& owner, Stream which, Ends ends)
        : stream(which),
          end(std::move(ends.ours)),
          child_end(std::move(ends.child_s)),
          watched(owner.executor),
          pause(owner.executor),
          lines(owner.limits.max_line) {}
    ~Pipe() { unwatch(); }
    void unwatch() {
      if (watched.is_open()) watched.release();
    }
    const Stream stream;
    Descriptor end;
    Descriptor child_end;
    asio::posix::stream_descriptor watched;  ///< `end` lent to the reactor, while a write shall wake it
    asio::steady_timer pause;
    LineSplitter lines;
    std::size_t keep = 0;  ///< of what it holds, while flooding
  };

  State(asio::any_io_executor on, Sink to, Limits most, Ends ends_of_out, Ends ends_of_err)
      : executor(std::move(on)),
        sink(std::move(to)),
        limits(sane(most)),
        out(*this, Stream::Stdout, std::move(ends_of_out)),
        err(*this, Stream::Stderr, std::move(ends_of_err)),
        budget(static_cast<double>(limits.burst)) {}

  void start() {
    for (Pipe* pipe : {&out, &err}) {
      pipe->child_end.close();
      watch(*pipe);
    }
  }

  void watch(Pipe& pipe) {
    boost::system::error_code error;
    if (!pipe.watched.is_open() && pipe.watched.assign(pipe.end.get(), error)) return watch_later(pipe);
    pipe.watched.async_wait(asio::posix::descriptor_base::wait_read,
                            [weak = weak_from_this(), &pipe](const boost::system::error_code& failure) {
                              auto self = weak.lock();
                              if (!failure && self) self->on_readable(pipe);
                            });
  }

  /// While flooding a pipe is looked at by the clock, and none of the child's writes wakes the loop. A flood lasts as
  /// long as the budget takes to recover, which nothing hinders meanwhile: a fraction of a second, also where the
  /// child has fallen silent.
  void watch_later(Pipe& pipe) {
    pipe.unwatch();
    pipe.pause.expires_after(kFloodPause);
    pipe.pause.async_wait([weak = weak_from_this(), &pipe](const boost::system::error_code& error) {
      auto self = weak.lock();
      if (!error && self && pipe.end) self->on_pause(pipe);
    });
  }

  void on_pause(Pipe& pipe) {
    fill_budget();
    if (!flooding) return on_readable(pipe);
    throw_away_all_but(pipe, pipe.keep);
    watch_later(pipe);
  }

  void on_readable(Pipe& pipe) {
    if (!pipe.end) return;
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
      ssize_t got = ::read(pipe.end.get(), buffer, std::min(wanted, sizeof buffer));
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

  /// Leaves the newest `keep` bytes in the pipe: they may be the last.
  void throw_away_all_but(Pipe& pipe, std::size_t keep) {
    std::size_t there = waiting_in(pipe);
    if (there <= keep) return;
    if (!nowhere) nowhere = Descriptor(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    for (std::size_t left = there - keep; left > 0;) {
      ssize_t got = ::splice(pipe.end.get(), nullptr, nowhere.get(), nullptr, left, SPLICE_F_NONBLOCK);
      if (got < 0 && errno != EAGAIN && errno != EINTR) {
        char buffer[kChunk];
        got = ::read(pipe.end.get(), buffer, std::min(left, sizeof buffer));
      }
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return;
      auto size = static_cast<std::size_t>(got);
      left -= size;
      read += size;
      note_dropped(size);
    }
  }

  static std::size_t waiting_in(Pipe& pipe) {
    int bytes = 0;
    if (!pipe.end || ::ioctl(pipe.end.get(), FIONREAD, &bytes) < 0) return 0;
    return static_cast<std::size_t>(bytes);
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
    for (Pipe* pipe : {&out, &err}) {
      if (!pipe->end) continue;
      ::fcntl(pipe->end.get(), F_SETPIPE_SZ, kFloodPipe);
      int size = ::fcntl(pipe->end.get(), F_GETPIPE_SZ);
      pipe->keep = std::min(kDrain, static_cast<std::size_t>(std::max(size, 0)) / 2);
    }
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
    if (waiting_in(pipe) > kDrain) {
      flush(pipe);
      throw_away_all_but(pipe, kDrain);
    }
    std::size_t left = waiting_in(pipe);
    while (left > 0 && read_some(pipe, left) == Read::Some) {
    }
  }

  void flush(Pipe& pipe) {
    pipe.lines.flush([&](std::string_view line) { take_line(pipe.stream, line); });
  }

  void finish(Pipe& pipe) {
    flush(pipe);
    pipe.pause.cancel();
    pipe.unwatch();
    pipe.end.close();
    if (!out.end && !err.end) say_dropped();
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
    : state_(std::make_shared<State>(std::move(executor), std::move(sink), limits, make_pipe(), make_pipe())) {}
Output::Output(asio::any_io_executor executor, Sink sink, Limits limits, const Names& names, Open open)
    : state_(std::make_shared<State>(std::move(executor), std::move(sink), limits, open_fifo(names.out, open),
                                     open_fifo(names.err, open))) {}
Output::~Output() = default;

int Output::stdout_fd() const { return state_->out.child_end.get(); }
int Output::stderr_fd() const { return state_->err.child_end.get(); }
void Output::start() { state_->start(); }
void Output::drain() { state_->drain(); }
std::vector<std::string> Output::tail() const { return {state_->tail.begin(), state_->tail.end()}; }
void Output::clear_tail() { state_->tail.clear(); }

void Output::close() {
  for (State::Pipe* pipe : {&state_->out, &state_->err})
    if (pipe->end) state_->finish(*pipe);
}

std::uint64_t Output::bytes_read() const { return state_->read; }
std::uint64_t Output::bytes_dropped() const { return state_->dropped; }

}  // namespace bulkhead::process
