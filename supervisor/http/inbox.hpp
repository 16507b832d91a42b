// The bytes a connection has read and not yet used.

#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

namespace bulkhead::http {

/// Unlike Beast's flat_buffer it may be consumed while a read into its free space is under way: nothing moves between
/// space() and filled(). Keeps its memory between requests.
class Inbox {
 public:
  std::string_view bytes() const { return {data_.get() + begin_, end_ - begin_}; }
  bool empty() const { return begin_ == end_; }
  std::size_t size() const { return end_ - begin_; }
  void consume(std::size_t count) { begin_ += count; }

  /// At least `least` free bytes behind what is there.
  std::pair<char*, std::size_t> space(std::size_t least) {
    if (begin_ == end_) begin_ = end_ = 0;
    if (capacity_ - end_ < least) {
      if (size() + least > capacity_) {
        std::size_t capacity = std::max(capacity_ * 2, size() + least);
        std::unique_ptr<char[]> larger(new char[capacity]);
        std::copy_n(data_.get() + begin_, size(), larger.get());
        data_ = std::move(larger);
        capacity_ = capacity;
      } else {
        std::copy_n(data_.get() + begin_, size(), data_.get());  // downwards: an overlap is no harm
      }
      end_ -= begin_;
      begin_ = 0;
    }
    return {data_.get() + end_, capacity_ - end_};
  }
  void filled(std::size_t count) {
    assert(count <= capacity_ - end_);
    end_ += count;
  }

 private:
  std::unique_ptr<char[]> data_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace bulkhead::http
