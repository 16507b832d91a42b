// UTF-8 as a promise: what children print may be any bytes, what is shown and stored is text.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace bulkhead::process {

/// The length of the longest start of `text` that is valid (no surrogates, no overlong forms, at most U+10FFFF).
std::size_t valid_utf8_prefix(std::string_view text);

/// The text with every maximal invalid part replaced by U+FFFD, as browsers do.
std::string repair_utf8(std::string_view text);

/// At most `size` bytes of a valid text, not cut within a character.
std::string_view cut_utf8(std::string_view text, std::size_t size);

}  // namespace bulkhead::process
