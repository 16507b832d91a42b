// Tables for people: columns that line up, cut to the terminal's width, coloured where that says something.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::client {

enum class Colour : std::uint8_t { Plain, Good, Bad, Doubtful, Busy, Faint, Strong, Head };

struct Cell {
  std::string text;  ///< one line of UTF-8, without control characters
  Colour colour = Colour::Plain;
  bool right = false;  ///< numbers stand at the right
};

/// How lines are to be made.
struct Look {
  bool colour = false;
  std::size_t width = 0;  ///< columns there are; 0: any
};

/// `text` in its colour.
std::string painted(std::string_view text, Colour colour, const Look& look);

/// One line of cells, as they are, cut to the width.
std::string line_of(const std::vector<Cell>& cells, const Look& look);

class Table {
 public:
  explicit Table(std::vector<Cell> head) : rows_{std::move(head)} {}
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  std::size_t size() const { return rows_.size() - 1; }

  /// The head first. Two blanks between columns, none at the end of a line.
  std::vector<std::string> lines(const Look& look) const;

 private:
  std::vector<std::vector<Cell>> rows_;
};

/// How many columns it takes: one for each character (which is wrong for wide ones, and does no harm).
std::size_t columns_of(std::string_view text);

// ---- figures -----------------------------------------------------------------------------------------------------------

/// "850ms", "1.2s", "3m12s", "2h05m", "4d03h".
std::string readable_time(double ms);
/// "812K", "52.1M", "3.2G".
std::string readable_bytes(double bytes);
/// "12", "41.2", "0.03".
std::string readable_rate(double per_second);
/// "14:03:07.123" of a wall time in ms since the epoch, as the clock on the wall shows it here.
std::string time_of_day(std::int64_t wall_ms, bool with_ms);
/// "2026-01-31 14:03:07"
std::string date_and_time(std::int64_t wall_ms);

Colour colour_of_status(std::string_view status);

}  // namespace bulkhead::client
