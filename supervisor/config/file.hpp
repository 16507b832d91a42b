// A configuration file, as a list of settings that still know their lines.

#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bulkhead::config {

/// One key of the file with its value as texts: a scalar is one text, an array one each, and a table (`worker-env`)
/// one NAME=VALUE each.
struct Setting {
  std::string key;
  std::vector<std::string> texts;
  bool is_list = false;
  int line = 0;
};

/// The settings in the file's order, or what is wrong with it, naming the file, the line and the reason.
std::variant<std::vector<Setting>, std::string> read_file(const std::string& path);

}  // namespace bulkhead::config
