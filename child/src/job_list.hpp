// A list of jobs through a hook inside them: joining and leaving costs no memory and no search.

#pragma once

#include <cassert>

#include "child/src/job.hpp"

namespace bulkhead::child {

template <Hook Job::*kHook>
class JobList {
 public:
  JobList() = default;
  JobList(const JobList&) = delete;
  JobList& operator=(const JobList&) = delete;

  bool empty() const { return first_ == nullptr; }
  Job* front() const { return first_; }

  void push_back(Job& job) {
    Hook& hook = job.*kHook;
    assert(!hook.linked);
    hook = {last_, nullptr, true};
    (last_ != nullptr ? (last_->*kHook).next : first_) = &job;
    last_ = &job;
  }

  /// Does nothing if the job is in no list.
  void erase(Job& job) {
    Hook& hook = job.*kHook;
    if (!hook.linked) return;
    (hook.previous != nullptr ? (hook.previous->*kHook).next : first_) = hook.next;
    (hook.next != nullptr ? (hook.next->*kHook).previous : last_) = hook.previous;
    hook = {};
  }

 private:
  Job* first_ = nullptr;
  Job* last_ = nullptr;
};

}  // namespace bulkhead::child
