// Deadlines of many things, of which the earliest is asked for and any may be moved or dropped: a binary heap whose
// items know their place in it, so that neither costs an allocation or a search.

#pragma once

#include <cassert>
#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace bulkhead {

/// Base of a thing that has at most one deadline at a time. Not moved or destroyed while it has one.
struct Deadlined {
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::chrono::steady_clock::time_point deadline;
  std::size_t heap_place = kNone;
};

/// `Item` derives from Deadlined.
template <typename Item>
class Deadlines {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Sets the item's deadline, replacing one it had.
  void set(Item& item, Time deadline) {
    if (item.heap_place == Deadlined::kNone) {
      item.heap_place = heap_.size();
      heap_.push_back(&item);
    }
    item.deadline = deadline;
    sift_up(item.heap_place);
    sift_down(item.heap_place);
  }

  void clear(Item& item) {
    std::size_t place = item.heap_place;
    if (place == Deadlined::kNone) return;
    item.heap_place = Deadlined::kNone;
    Item* last = heap_.back();
    heap_.pop_back();
    if (last == &item) return;
    heap_[place] = last;
    last->heap_place = place;
    sift_up(place);
    sift_down(last->heap_place);
  }

  std::optional<Time> earliest() const {
    if (heap_.empty()) return std::nullopt;
    return heap_.front()->deadline;
  }

  /// Takes one item whose deadline is not after `now` out, or returns nullptr.
  Item* pop_due(Time now) {
    if (heap_.empty() || heap_.front()->deadline > now) return nullptr;
    Item* item = heap_.front();
    clear(*item);
    return item;
  }

 private:
  void swap(std::size_t a, std::size_t b) {
    std::swap(heap_[a], heap_[b]);
    heap_[a]->heap_place = a;
    heap_[b]->heap_place = b;
  }
  void sift_up(std::size_t place) {
    while (place > 0) {
      std::size_t parent = (place - 1) / 2;
      if (heap_[parent]->deadline <= heap_[place]->deadline) return;
      swap(parent, place);
      place = parent;
    }
  }
  void sift_down(std::size_t place) {
    for (;;) {
      std::size_t least = place;
      for (std::size_t child = 2 * place + 1; child <= 2 * place + 2; ++child)
        if (child < heap_.size() && heap_[child]->deadline < heap_[least]->deadline) least = child;
      if (least == place) return;
      swap(least, place);
      place = least;
    }
  }

  std::vector<Item*> heap_;
};

}  // namespace bulkhead
