// What a handler program tells bulkhead::start.

#pragma once

#include <algorithm>
#include <exception>
#include <functional>
#include <string>

#include "bulkhead/handler.hpp"

namespace bulkhead {

struct Options {
  Handler handler;

  /// Generators: the final result holds all chunks, besides their having been streamed. Otherwise it is [].
  bool return_aggregate_stream = false;

  /// A clean child after every job, whatever its result.
  bool refresh_worker = false;

  /// How many jobs may run in this child at once, given the present number (1 at first). Asked before the first job and
  /// after each; a change takes effect at once, and running jobs go on. Unset: 1. Values are kept within 1 to 1000.
  std::function<int(int current)> concurrency_modifier = nullptr;
};

namespace sdk {

/// What runs in this child, as both loops need it.
struct Program {
  Options options;
  Identity who;
  Level threshold;  ///< lines below it are not sent

  /// Asks the modifier. `complain` takes its words where it throws; the number stays as it was then.
  template <class Complain>
  int concurrency(int current, Complain complain) const {
    if (!options.concurrency_modifier) return current;
    try {
      return std::clamp(options.concurrency_modifier(current), 1, 1000);
    } catch (...) {
      const Description thrown = describe_current_exception();
      complain("concurrency_modifier threw " + thrown.type + ": " + thrown.message);
      return current;
    }
  }
};

}  // namespace sdk
}  // namespace bulkhead
