// What names an input, and the build of a handler.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bulkhead {

/// SHA-256 of the bytes, in hexadecimal.
std::string fingerprint(std::string_view bytes);

/// A fingerprint of the command's words and, for each word that names a file (the first one also along PATH), of the
/// file's device-independent identity: path, size, time of last change. Another build of the handler has another.
std::string build_of(const std::vector<std::string>& command);

}  // namespace bulkhead
