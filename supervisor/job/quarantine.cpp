#include "supervisor/job/quarantine.hpp"

#include <algorithm>
#include <utility>

namespace bulkhead {

void Quarantine::recover(std::vector<Suspect> suspects) {
  known_build_ = build_();
  for (Suspect& suspect : suspects) {
    if (suspect.build != known_build_ || suspects_.size() >= kMost) continue;
    std::string fingerprint = suspect.fingerprint;
    suspects_.emplace(std::move(fingerprint), std::move(suspect));
  }
}

void Quarantine::watch(const std::string& fingerprint) {
  if (std::string build = build_(); build != known_build_) {
    suspects_.clear();
    known_build_ = std::move(build);
  }
  if (!suspects_.contains(fingerprint)) make_room();
  suspects_.try_emplace(fingerprint);
}

void Quarantine::release(const std::string& fingerprint) {
  auto found = suspects_.find(fingerprint);
  if (found != suspects_.end() && found->second.crashes == 0) suspects_.erase(found);
}

const Suspect& Quarantine::crashed(const std::string& fingerprint, const Payload& record) {
  watch(fingerprint);
  Suspect& suspect = suspects_[fingerprint];
  if (suspect.crashes == 0) {
    suspect.fingerprint = fingerprint;
    suspect.build = known_build_;
    suspect.record = record;
  }
  ++suspect.crashes;
  return suspect;
}

const Suspect* Quarantine::find(const std::string& fingerprint) {
  auto found = suspects_.find(fingerprint);
  if (found == suspects_.end()) return nullptr;
  if (build_() == known_build_) return &found->second;
  suspects_.clear();
  return nullptr;
}

std::size_t Quarantine::clear() {
  const std::size_t count = suspects_.size();
  suspects_.clear();
  return count;
}

void Quarantine::make_room() {
  if (suspects_.size() < kMost) return;
  suspects_.erase(std::min_element(suspects_.begin(), suspects_.end(), [](const auto& one, const auto& other) {
    return one.second.crashes < other.second.crashes;
  }));
}

}  // namespace bulkhead
