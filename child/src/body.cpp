#include "child/src/body.hpp"

#include <cstring>
#include <new>

namespace bulkhead::child {
namespace {

/// Below this a copy is cheaper than the bookkeeping of a shared message.
constexpr std::size_t kCopyBelow = 1024;
/// What a queued message costs beside its bytes: envelope, bookkeeping of libzmq.
constexpr std::size_t kOverhead = 256;

}  // namespace

Body::Body(std::string_view bytes, Backlog* backlog) {
  if (bytes.empty() && backlog == nullptr) return;
  block_ = new (::operator new(sizeof(Block) + bytes.size())) Block;
  char* copy = reinterpret_cast<char*>(block_ + 1);
  block_->bytes = copy;
  block_->size = bytes.size();
  block_->backlog = backlog;
  if (!bytes.empty()) std::memcpy(copy, bytes.data(), bytes.size());
  if (backlog != nullptr) backlog->fetch_add(bytes.size() + kOverhead, std::memory_order_relaxed);
}

Body::Body(std::string_view bytes, void (*let_go)(void* user), void* user) {
  void* memory = ::operator new(sizeof(Block), std::nothrow);
  if (memory == nullptr) {
    let_go(user);
    throw std::bad_alloc();
  }
  block_ = new (memory) Block;
  block_->bytes = bytes.data();
  block_->size = bytes.size();
  block_->release = let_go;
  block_->user = user;
}

Body::Body(const Body& other) noexcept : block_(other.block_) {
  if (block_ != nullptr) block_->users.fetch_add(1, std::memory_order_relaxed);
}

std::string_view Body::view() const {
  return block_ == nullptr ? std::string_view() : std::string_view(block_->bytes, block_->size);
}

bool Body::fill(zmq_msg_t* message) const {
  const std::string_view bytes = view();
  if (block_ == nullptr || (bytes.size() < kCopyBelow && block_->backlog == nullptr)) {
    if (zmq_msg_init_size(message, bytes.size()) != 0) return false;
    if (!bytes.empty()) std::memcpy(zmq_msg_data(message), bytes.data(), bytes.size());
    return true;
  }
  block_->users.fetch_add(1, std::memory_order_relaxed);
  // The socket only reads them.
  if (zmq_msg_init_data(message, const_cast<char*>(block_->bytes), block_->size, &Body::release_by_socket, block_) == 0)
    return true;
  release(block_);
  return false;
}

void Body::release(Block* block) noexcept {
  if (block == nullptr || block->users.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (block->backlog != nullptr) block->backlog->fetch_sub(block->size + kOverhead, std::memory_order_relaxed);
  if (block->release != nullptr) block->release(block->user);
  block->~Block();
  ::operator delete(block);
}

void Body::release_by_socket(void*, void* block) { release(static_cast<Block*>(block)); }

}  // namespace bulkhead::child
