// The files of the page at GET /, which are part of the program: embed.py makes their table when it is built.

#pragma once

#include <span>
#include <string_view>

namespace bulkhead::http {

struct PageFile {
  std::string_view name;  ///< the last part of its path
  std::string_view type;  ///< Content-Type
  std::string_view tag;   ///< ETag, with its quotes: another one for other bytes
  std::string_view bytes;
  std::string_view packed;  ///< the same, by gzip; empty where that is no shorter
};

/// index.html is among them.
std::span<const PageFile> page_files();

}  // namespace bulkhead::http
