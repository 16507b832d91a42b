#include "supervisor/process/line_splitter.hpp"

#include <algorithm>

#include "supervisor/process/utf8.hpp"

namespace bulkhead::process {

void LineSplitter::feed(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    std::size_t end = bytes.find('\n');
    take(bytes.substr(0, end));
    if (end == std::string_view::npos) return;
    end_line(sink);
    bytes.remove_prefix(end + 1);
  }
}

void LineSplitter::flush(const Sink& sink) {
  if (!line_.empty()) end_line(sink);
  returned_ = false;
}

void LineSplitter::take(std::string_view part) {
  while (!part.empty()) {
    if (part.front() == '\r') {
      returned_ = true;
      part.remove_prefix(1);
      continue;
    }
    if (returned_) {
      line_.clear();
      cut_ = 0;
      returned_ = false;
    }
    std::string_view text = part.substr(0, part.find('\r'));
    std::size_t fits = std::min(text.size(), max_line_ - line_.size());
    line_.append(text.substr(0, fits));
    cut_ += text.size() - fits;
    part.remove_prefix(text.size());
  }
}

void LineSplitter::end_line(const Sink& sink) {
  if (cut_ > 0) {
    // Not within a character, if it is one.
    std::size_t back = 0;
    while (back < 3 && back < line_.size() &&
           (static_cast<unsigned char>(line_[line_.size() - 1 - back]) & 0xc0) == 0x80)
      ++back;
    bool open = back < line_.size() && static_cast<unsigned char>(line_[line_.size() - 1 - back]) >= 0xc0;
    if (open && valid_utf8_prefix(std::string_view(line_).substr(line_.size() - 1 - back)) == 0) {
      cut_ += back + 1;
      line_.resize(line_.size() - back - 1);
    }
  }
  if (valid_utf8_prefix(line_) != line_.size()) line_ = repair_utf8(line_);
  if (cut_ > 0) line_ += " [… " + std::to_string(cut_) + " more bytes]";
  sink(line_);
  line_.clear();
  cut_ = 0;
  returned_ = false;
}

}  // namespace bulkhead::process
