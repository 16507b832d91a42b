// The bytes of one outgoing body, shared by the socket and the queue of unacknowledged messages.
//
// Filled once, then never changed, so that the I/O thread may read it while a copy waits here to be sent again. Counted:
// the last user frees it, and that may be libzmq's thread.

#pragma once

#include <zmq.h>

#include <atomic>
#include <cstddef>
#include <string_view>
#include <utility>

namespace bulkhead::child {

/// Bytes handed to the socket and not yet written by it. Only what must not pile up is counted: see Body.
using Backlog = std::atomic<std::size_t>;

class Body {
 public:
  Body() = default;
  /// Copies `bytes`: they are the caller's. Throws std::bad_alloc. With `backlog`, the bytes are counted there until
  /// the last user is gone; it must outlive them.
  explicit Body(std::string_view bytes, Backlog* backlog = nullptr);
  /// Takes the caller's bytes over: `let_go(user)` is called once, by whichever thread is the last to need them, or here if
  /// this throws std::bad_alloc.
  Body(std::string_view bytes, void (*let_go)(void* user), void* user);
  Body(const Body& other) noexcept;
  Body(Body&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Body& operator=(Body other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Body() { release(block_); }

  std::string_view view() const;

  /// Makes `message` one that carries these bytes: a copy of a small body, the shared bytes of a large or a counted one.
  /// False if there is no memory.
  bool fill(zmq_msg_t* message) const;

 private:
  struct Block {
    std::atomic<int> users{1};
    const char* bytes = nullptr;  ///< behind this block, or the caller's
    std::size_t size = 0;
    Backlog* backlog = nullptr;
    void (*release)(void* user) = nullptr;  ///< of the caller's bytes
    void* user = nullptr;
  };

  static void release(Block* block) noexcept;
  static void release_by_socket(void* bytes, void* block);

  Block* block_ = nullptr;
};

}  // namespace bulkhead::child
