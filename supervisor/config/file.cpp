#include "supervisor/config/file.hpp"

#include <sys/stat.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

namespace bulkhead::config {
namespace {

/// A scalar as its option's parser reads it; none for what no option takes (dates, nested values).
std::optional<std::string> text_of(const toml::node& node) {
  if (auto text = node.value_exact<std::string>()) return text;
  if (auto number = node.value_exact<std::int64_t>()) return std::to_string(*number);
  if (auto truth = node.value_exact<bool>()) return *truth ? "true" : "false";
  if (auto number = node.value_exact<double>()) {
    std::string text = std::to_string(*number);
    while (text.ends_with('0')) text.pop_back();
    if (text.ends_with('.')) text.pop_back();
    return text;
  }
  return {};
}

bool read_value(const toml::node& node, Setting& setting) {
  if (const toml::array* array = node.as_array()) {
    setting.is_list = true;
    for (const toml::node& element : *array) {
      auto text = text_of(element);
      if (!text) return false;
      setting.texts.push_back(std::move(*text));
    }
    return true;
  }
  if (const toml::table* table = node.as_table()) {
    setting.is_list = true;
    for (const auto& [name, element] : *table) {
      auto text = text_of(element);
      if (!text) return false;
      setting.texts.push_back(std::string(name.str()) + "=" + *text);
    }
    return true;
  }
  auto text = text_of(node);
  if (text) setting.texts.push_back(std::move(*text));
  return text.has_value();
}

}  // namespace

std::variant<std::vector<Setting>, std::string> read_file(const std::string& path) {
  // By a supervisor that is started again, and at SIGHUP: a pipe is empty then.
  struct stat facts {};
  if (::stat(path.c_str(), &facts) == 0 && (S_ISFIFO(facts.st_mode) || S_ISSOCK(facts.st_mode)))
    return path + ": is a pipe, which can be read once; it must be a file, which is read again after a crash";
  std::ifstream file(path, std::ios::binary);
  if (!file) return path + ": " + std::strerror(errno);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return path + ": cannot be read";

  toml::table table;
  try {
    table = toml::parse(text, path);
  } catch (const toml::parse_error& error) {
    return path + ":" + std::to_string(error.source().begin.line) +
           ": not valid TOML: " + std::string(error.description());
  }

  std::vector<Setting> settings;
  for (const auto& [key, node] : table) {
    Setting setting{.key = std::string(key.str()), .line = static_cast<int>(key.source().begin.line)};
    if (!read_value(node, setting)) {
      return path + ":" + std::to_string(setting.line) + ": " + setting.key +
             ": must be a text, a number, or an array of them";
    }
    settings.push_back(std::move(setting));
  }
  std::sort(settings.begin(), settings.end(), [](const Setting& a, const Setting& b) { return a.line < b.line; });
  return settings;
}

}  // namespace bulkhead::config
