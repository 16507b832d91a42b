// JSON as text. What a job takes and gives passes through as it came: numbers that fit no double stay what they are.

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace bulkhead::client {

/// What is wrong with a text that should be one JSON value (RFC 8259, at most 512 levels deep), and where:
/// "line 2, column 7: syntax error". None when it is one, or when only the endpoint can tell (an exponent that no
/// double holds, half of a surrogate pair).
std::optional<std::string> fault_of_json(std::string_view text);

/// The text of the member `name` of the object that `json` is; empty when there is none, or `json` is no object. What
/// it is given need not be valid: then the answer may be empty or a part of it, and nothing worse.
std::string_view member(std::string_view json, std::string_view name);

/// The text of each element of the array that `json` is. What it is given need not be valid, as above.
void each_element(std::string_view json, const std::function<void(std::string_view)>& visit);

/// What a text that is a JSON string stands for; any other text as it is.
std::string plain(std::string_view json);

/// `text` as a JSON string with its quotes.
std::string json_quoted(std::string_view text);

/// The same value on one line and without white space around it: line ends in JSON only ever stand between two tokens.
std::string one_line(std::string_view json);

}  // namespace bulkhead::client
