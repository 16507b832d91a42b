// What `bulkhead doctor` found out about one thing.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bulkhead::doctor {

enum class Verdict : std::uint8_t {
  Ok,
  Limited,  ///< works, with what `cost` says
  Missing,  ///< does not work here; Bulkhead runs without it
  Broken    ///< Bulkhead does not run like this
};

/// Lower case, as it is printed: "ok", "limited", …
const char* to_string(Verdict verdict);

struct Finding {
  std::string subject = {};  ///< one or two words: "cgroups"
  Verdict verdict = Verdict::Ok;
  std::string found = {};    ///< what is so, as seen and not as guessed
  std::string cost = {};     ///< what it costs that it is so; empty for Ok
  std::string way_out = {};  ///< what to do about it; empty where nothing is to be done
};

struct Section {
  std::string name;
  std::vector<Finding> findings;
};

}  // namespace bulkhead::doctor
