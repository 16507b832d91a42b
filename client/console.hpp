// What is said to whoever called a command, and how: the answer on standard output, all else on standard error.

#pragma once

#include <string>
#include <string_view>

#include "client/options.hpp"

namespace bulkhead::client {

/// A line on standard error, with the program's name before it.
void say(const std::string& line);

/// What the work ended with; its code.
int print(const Exit& exit);

/// A line of the answer, at once: somebody may be reading along.
void print_line(std::string_view text);

/// `code`, or kBroken, with a word about it, when standard output did not take everything.
int finish(int code);

/// Whether what goes to standard output or error (1, 2) is read by a person in front of a terminal that can move its
/// cursor.
bool on_terminal(int descriptor);

/// Whether it may be coloured: a terminal, and NO_COLOR (https://no-color.org) is not set.
bool in_colour(int descriptor);

/// `text` fit for a terminal: without control characters, and at most `most` bytes of it.
std::string harmless(std::string_view text, std::size_t most = 300);

}  // namespace bulkhead::client
