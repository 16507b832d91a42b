#include "supervisor/journal/checkpointer.hpp"

#include <sqlite3.h>

#include <utility>

#include "supervisor/journal/thread.hpp"

namespace bulkhead::journal {

Checkpointer::Checkpointer(Connection connection, std::function<void()> done)
    : connection_(std::move(connection)), done_(std::move(done)) {
  thread_ = start_thread("journal-ckpt", [this] { run(); });
}

Checkpointer::~Checkpointer() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wanted_.notify_one();
  thread_.join();
}

void Checkpointer::request() {
  {
    std::lock_guard lock(mutex_);
    requested_ = true;
  }
  wanted_.notify_one();
}

void Checkpointer::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return requested_ || stopping_; });
    if (stopping_) return;
    requested_ = false;
    lock.unlock();
    sqlite3_wal_checkpoint_v2(connection_.raw(), "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    done_();
    lock.lock();
  }
}

}  // namespace bulkhead::journal
