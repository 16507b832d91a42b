#include "supervisor/journal/store.hpp"

#include <utility>

#include "supervisor/journal/memory_journal.hpp"
#include "supervisor/journal/sqlite_journal.hpp"

namespace bulkhead::journal {

std::unique_ptr<Store> open(Options options, std::function<void()> wake) {
  if (options.durability == Durability::Memory) return std::make_unique<MemoryJournal>(std::move(options));
  return std::make_unique<SqliteJournal>(std::move(options), std::move(wake));
}

}  // namespace bulkhead::journal
