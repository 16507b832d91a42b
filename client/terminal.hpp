// The whole of a terminal, taken for a while: drawn over and over, keys read one by one, and given back as it was.

#pragma once

#include <termios.h>

#include <cstddef>
#include <string>
#include <vector>

namespace bulkhead::client {

/// Given back by whatever ends it: its destructor, which runs for SIGINT and SIGTERM (taken by Interrupts) and for SIGHUP and
/// SIGQUIT, which are noticed here. One at a time. Keys come from standard input where that is a terminal, too.
class Terminal {
 public:
  /// Throws std::system_error when standard output is no terminal.
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  std::size_t columns() const { return columns_; }
  std::size_t rows() const { return rows_; }

  /// To be watched: readable when read_keys() is to be called.
  std::vector<int> descriptors() const;

  /// What was pressed: a letter each, "up", "down", "page up", "page down", "home", "end"; "resize" when the size is another,
  /// "hang up" when the terminal is gone or somebody wants an end. Ctrl-Z is dealt with here: the terminal is given back
  /// until the process is continued.
  std::vector<std::string> read_keys();

  /// Draws the lines over what was there; those beyond the last row are left out. They fit the width already.
  void draw(const std::vector<std::string>& lines);

 private:
  void take();
  void give_back();
  void measure();
  void write_all(const std::string& bytes);

  bool keys_ = false;
  bool taken_ = false;
  bool gone_ = false;
  int signals_ = -1;
  termios before_{};
  std::size_t columns_ = 80;
  std::size_t rows_ = 24;
  std::string half_;  ///< an escape sequence that is not whole yet
};

}  // namespace bulkhead::client
