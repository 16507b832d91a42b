#include "supervisor/journal/reader.hpp"

#include <algorithm>
#include <iterator>
#include <system_error>
#include <utility>

#include "supervisor/journal/thread.hpp"

namespace bulkhead::journal {

Reader::Reader(Connection connection, std::function<void()> notify)
    : connection_(std::move(connection)), queries_(connection_), notify_(std::move(notify)) {
  thread_ = start_thread("journal-read", [this] { run(); });
}

Reader::~Reader() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  asked_.notify_one();
  thread_.join();
}

void Reader::ask(Query query) {
  {
    std::lock_guard lock(mutex_);
    questions_.push_back(std::move(query));
  }
  asked_.notify_one();
}

std::vector<Reader::Query> Reader::collect() {
  std::lock_guard lock(mutex_);
  return std::exchange(answers_, {});
}

void Reader::run() {
  std::vector<Query> taken;
  std::unique_lock lock(mutex_);
  for (;;) {
    asked_.wait(lock, [this] { return !questions_.empty() || stopping_; });
    if (stopping_) return;
    taken.swap(questions_);
    lock.unlock();
    for (Query& query : taken) answer(query);
    lock.lock();
    std::move(taken.begin(), taken.end(), std::back_inserter(answers_));
    taken.clear();
    lock.unlock();
    notify_();
    lock.lock();
  }
}

void Reader::answer(Query& query) {
  try {
    switch (query.kind) {
      case Query::Kind::Job: query.found = queries_.find(query.id); break;
      case Query::Kind::Chunks:
        query.chunks = queries_.chunks(query.id, query.now_ms, query.from, query.max_bytes);
        break;
      case Query::Kind::Unread:
        query.from = std::max(query.from, queries_.polled(query.id) + 1);
        query.chunks = queries_.chunks(query.id, query.now_ms, query.from, query.max_bytes);
        break;
      case Query::Kind::DeadLetters: query.letters = queries_.letters.list(query.max_bytes); break;
      case Query::Kind::DeadLetter:
        if (auto letter = queries_.letters.find(query.id)) query.letters.push_back(std::move(*letter));
        break;
      case Query::Kind::Listing: query.page = queries_.listing.page(query.wanted, query.now_ms); break;
      case Query::Kind::Record: query.record = queries_.listing.record(query.id, query.now_ms, query.max_bytes); break;
      case Query::Kind::IdempotencyKey: query.found_id = queries_.id_of(query.id, query.now_ms); break;
    }
  } catch (const std::system_error& error) {
    query.error = error.code();
    query.error_text = error.what();
  }
}

}  // namespace bulkhead::journal
