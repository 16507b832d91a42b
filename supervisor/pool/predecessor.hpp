// What the children of the supervisor before this one had entered when they died, from the black boxes they left.
//
// The journal says only which jobs had been handed out. Of those, a job whose handler was never called is a bystander of
// the supervisor's own death: it waits again, as if it had not been handed out.

#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "supervisor/job/ports.hpp"
#include "supervisor/process/black_box_file.hpp"

namespace bulkhead::pool {

class Predecessor {
 public:
  /// Knows nothing of anybody.
  Predecessor() = default;
  /// Reads the boxes in `files`, whose children must be dead. What cannot be read is not known; never throws for that.
  explicit Predecessor(const std::filesystem::path& files);

  /// True if this run was handed to that child and its handler certainly not called. False where nothing is known: no
  /// box, an unreadable one, or one of another supervisor than the run's.
  bool never_entered(RunNumber run, std::string_view child_id) const;

  /// Leaves the mark by which the next supervisor tells that the boxes in `files` are of runs from `first_run` on.
  /// Throws std::system_error.
  static void mark(const std::filesystem::path& files, RunNumber first_run);

  /// Whether a child was ready in the life of that supervisor, or of one before it, if none of them ended in order.
  static bool was_ready(const std::filesystem::path& files);
  /// A mark that is not written is not there: the next supervisor then judges by its own life.
  static void mark_ready(const std::filesystem::path& files);

 private:
  RunNumber first_run_ = 0;                                              ///< of that supervisor; 0: not known
  std::map<std::string, process::BlackBoxSnapshot, std::less<>> boxes_;  ///< by child
};

}  // namespace bulkhead::pool
