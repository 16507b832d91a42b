// ANSI sequences alone, those that every terminal of the last decades knows: the alternate screen, the cursor home, clear
// to the end of the line. A frame is one write, so that it is never seen half. Signals that would end the process with the
// terminal in disorder are blocked and read from a signalfd, as Interrupts does with its two; the mask is given back last.

#include "client/terminal.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <system_error>

namespace bulkhead::client {
namespace {

constexpr char kEnter[] = "\x1b[?1049h\x1b[?25l\x1b[2J\x1b[H";  // alternate screen, no cursor, clear
constexpr char kLeave[] = "\x1b[0m\x1b[?25h\x1b[?1049l";
constexpr char kSuspend = 0x1A;  // Ctrl-Z

sigset_t noticed() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGWINCH);
  // One that is ignored (nohup) stays so.
  for (int signal : {SIGHUP, SIGQUIT}) {
    struct sigaction now {};
    if (sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) sigaddset(&set, signal);
  }
  return set;
}

/// What an escape sequence means; empty: nothing here.
std::string key_of(std::string_view sequence) {
  if (sequence == "\x1b[A" || sequence == "\x1bOA") return "up";
  if (sequence == "\x1b[B" || sequence == "\x1bOB") return "down";
  if (sequence == "\x1b[5~") return "page up";
  if (sequence == "\x1b[6~") return "page down";
  if (sequence == "\x1b[H" || sequence == "\x1b[1~" || sequence == "\x1bOH") return "home";
  if (sequence == "\x1b[F" || sequence == "\x1b[4~" || sequence == "\x1bOF") return "end";
  return "";
}

/// How long the escape sequence is that `text` begins with; 0: it is not whole yet.
std::size_t length_of_sequence(std::string_view text) {
  if (text.size() < 2) return 0;
  if (text[1] == 'O') return text.size() < 3 ? 0 : 3;
  if (text[1] != '[') return 2;
  for (std::size_t i = 2; i < text.size(); ++i)
    if (text[i] >= 0x40 && text[i] <= 0x7E) return i + 1;
  return text.size() > 16 ? text.size() : 0;
}

}  // namespace

Terminal::Terminal() {
  if (isatty(STDOUT_FILENO) != 1) throw std::system_error(ENOTTY, std::generic_category(), "standard output");
  keys_ = isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &before_) == 0;
  sigset_t set = noticed();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
  take();
}

Terminal::~Terminal() {
  give_back();
  close(signals_);
  sigset_t set = noticed();
  // What came and was answered by an end is not to end the process a second time.
  timespec at_once{};
  while (sigtimedwait(&set, nullptr, &at_once) > 0) {
  }
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

void Terminal::take() {
  measure();
  if (keys_) {
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    raw.c_cc[VSUSP] = _POSIX_VDISABLE;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  }
  taken_ = true;
  write_all(kEnter);
}

void Terminal::give_back() {
  if (!taken_) return;
  taken_ = false;
  write_all(kLeave);
  if (keys_) tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

void Terminal::measure() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return;
  columns_ = size.ws_col;
  rows_ = size.ws_row;
}

std::vector<int> Terminal::descriptors() const {
  std::vector<int> all{signals_};
  if (keys_ && !gone_) all.push_back(STDIN_FILENO);
  return all;
}

std::vector<std::string> Terminal::read_keys() {
  std::vector<std::string> keys;
  signalfd_siginfo info;
  while (read(signals_, &info, sizeof info) == sizeof info) {
    measure();
    keys.push_back(info.ssi_signo == SIGWINCH ? "resize" : "hang up");
  }
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  if (keys_ && poll(&input, 1, 0) > 0 && (input.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) gone_ = true;
  std::array<char, 256> bytes;
  ssize_t count = keys_ ? read(STDIN_FILENO, bytes.data(), bytes.size()) : 0;
  if (count < 0 && errno != EAGAIN && errno != EINTR) gone_ = true;
  if (count > 0) half_.append(bytes.data(), static_cast<std::size_t>(count));
  while (!half_.empty()) {
    std::size_t length = half_[0] == '\x1b' ? length_of_sequence(half_) : 1;
    if (length == 0) break;
    std::string sequence = half_.substr(0, length);
    half_.erase(0, length);
    if (sequence[0] == kSuspend) {
      give_back();
      raise(SIGTSTP);
      take();
      keys.push_back("resize");
    } else if (sequence[0] != '\x1b') {
      keys.push_back(sequence);
    } else if (std::string key = key_of(sequence); !key.empty()) {
      keys.push_back(key);
    }
  }
  if (gone_) keys.push_back("hang up");
  return keys;
}

void Terminal::draw(const std::vector<std::string>& lines) {
  std::string frame = "\x1b[H";
  for (std::size_t i = 0; i < lines.size() && i < rows_; ++i) {
    if (i > 0) frame += "\r\n";
    frame += lines[i] + "\x1b[K";
  }
  write_all(frame + "\x1b[J");
}

void Terminal::write_all(const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    ssize_t count = write(STDOUT_FILENO, bytes.data() + done, bytes.size() - done);
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (count < 0 && errno != EINTR) {
      gone_ = true;
      return;
    }
  }
}

}  // namespace bulkhead::client
