#include "client/events.hpp"

#include <utility>

namespace bulkhead::client {

void EventReader::take(std::string_view bytes) {
  while (!bytes.empty()) {
    if (std::exchange(after_return_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    std::size_t end = bytes.find_first_of("\r\n");
    line_.append(bytes.substr(0, end));
    if (end == std::string_view::npos) return;
    after_return_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    std::string line = std::exchange(line_, {});
    take_line(line);
  }
}

void EventReader::restart() {
  line_.clear();
  event_ = {};
  after_return_ = has_data_ = false;
}

void EventReader::take_line(std::string_view line) {
  if (line.empty()) {
    if (event_.name.empty()) event_.name = "message";
    if (has_data_) found_(event_);
    event_ = {};
    has_data_ = false;
    return;
  }
  std::size_t colon = line.find(':');
  std::string_view field = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "id") {
    event_.id = value;
  } else if (field == "event") {
    event_.name = value;
  } else if (field == "data") {
    if (std::exchange(has_data_, true)) event_.data += '\n';
    event_.data += value;
  }
}

}  // namespace bulkhead::client
