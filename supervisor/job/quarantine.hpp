// Inputs that crash the handler. Pure: told of crashes, it says which input may still run, and how often at once.
//
// An input is known by a fingerprint of its exact bytes, a suspect from its first crash on. Nothing is computed for the
// inputs of others while there is no suspect. A crash counts for the build of the handler that crashed; another build
// starts from nothing.

#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "supervisor/job/ports.hpp"

namespace bulkhead {

class Quarantine {
 public:
  using Fingerprint = std::function<std::string(std::string_view input)>;

  /// Suspects kept; beyond them those of the fewest crashes are forgotten.
  static constexpr std::size_t kMost = 10'000;

  Quarantine(Fingerprint of_input, std::function<std::string()> build)
      : of_input_(std::move(of_input)), build_(std::move(build)) {}

  /// Those of another build than the present one are left out.
  void recover(std::vector<Suspect> suspects);
  std::string fingerprint(const Payload& input) const { return of_input_(input.bytes()); }
  bool empty() const { return suspects_.empty(); }

  /// One more crash. What is known now, to be kept.
  const Suspect& crashed(const std::string& fingerprint, const Payload& record);
  /// A child that runs it is ending, and nobody knows why yet: a suspect without a crash, until release().
  void watch(const std::string& fingerprint);
  /// It is none any more, unless it crashed.
  void release(const std::string& fingerprint);
  /// nullptr when it is none. Forgets all of them when the build has changed.
  const Suspect* find(const std::string& fingerprint);
  /// How many there were.
  std::size_t clear();

 private:
  void make_room();

  Fingerprint of_input_;
  std::function<std::string()> build_;
  std::string known_build_;
  std::unordered_map<std::string, Suspect> suspects_;
};

}  // namespace bulkhead
