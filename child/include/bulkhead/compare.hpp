// Whether a result is the expected one, and where it is not.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bulkhead/json.hpp"

namespace bulkhead::sdk {

/// Differences as lines like `output.words[2]: expected "cat", got "dog"`. Numbers are compared by value (1 equals 1.0),
/// objects without regard to order.
class Comparison {
 public:
  static std::vector<std::string> of(const Json& expected, const Json& got, const std::string& root) {
    Comparison comparison;
    comparison.compare(expected, got, root);
    return std::move(comparison.differences_);
  }

 private:
  static constexpr std::size_t kMaxShown = 160;

  static std::string shown(const Json& value) {
    std::string text = to_text(value, "value");
    if (text.size() > kMaxShown) text = valid_utf8(text.substr(0, kMaxShown)) + "…";
    return text;
  }

  static bool same_number(const Json& a, const Json& b) {
    if (a.is_double() || b.is_double()) return a.to_number<double>() == b.to_number<double>();
    return a == b;
  }

  void compare(const Json& expected, const Json& got, const std::string& path) {
    if (expected.is_object() && got.is_object()) {
      for (const auto& member : expected.get_object()) {
        const std::string key(member.key());
        if (const Json* other = got.get_object().if_contains(key))
          compare(member.value(), *other, path + '.' + key);
        else
          differences_.push_back(path + '.' + key + ": expected " + shown(member.value()) + ", got nothing");
      }
      for (const auto& member : got.get_object())
        if (!expected.get_object().contains(member.key()))
          differences_.push_back(path + '.' + std::string(member.key()) + ": not expected, got " +
                                 shown(member.value()));
    } else if (expected.is_array() && got.is_array()) {
      const auto& want = expected.get_array();
      const auto& have = got.get_array();
      for (std::size_t i = 0; i < want.size() || i < have.size(); ++i) {
        const std::string place = path + '[' + std::to_string(i) + ']';
        if (i >= have.size())
          differences_.push_back(place + ": expected " + shown(want[i]) + ", got nothing");
        else if (i >= want.size())
          differences_.push_back(place + ": not expected, got " + shown(have[i]));
        else
          compare(want[i], have[i], place);
      }
    } else if (!(expected.is_number() && got.is_number() ? same_number(expected, got) : expected == got)) {
      differences_.push_back(path + ": expected " + shown(expected) + ", got " + shown(got));
    }
  }

  std::vector<std::string> differences_;
};

}  // namespace bulkhead::sdk
