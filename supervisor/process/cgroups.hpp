// What one child and all it starts may take: memory, processes, its share of the CPU; and a cgroup for each child, where
// this machine lets us have them.
//
// For memory and for processes each, the first of these that works here is taken: cgroup v2, cgroup v1, a resource limit.
// remarks() says which, and what is missing.
//
// A child's own cgroup is more than a limit. Whatever it starts stays in it, however it hides: so its strays are found
// there (strays.hpp), and on v2 killed at one stroke. And the kernel counts there who was killed for want of memory.
// Without limits, too, each child has one where cgroup v2 is delegated to us: by systemd (Delegate=yes), or by the
// directory's being ours while we are not root. Elsewhere cgroups are made only where a limit asks for them.
//
// In v2 a cgroup that hands controllers on has no processes of its own. So the supervisor moves itself and the init above
// it into a cgroup beside those of its children, `bulkhead-supervisor`, and its successors begin there.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/process/cgroup_places.hpp"
#include "supervisor/process/descriptor.hpp"
#include "supervisor/process/spawn_plan.hpp"

namespace bulkhead::process {

/// Of one child with all it starts; 0: not limited.
struct Guards {
  std::int64_t memory_max = 0;  ///< bytes
  std::int64_t pids_max = 0;    ///< processes and threads
  int cpu_weight = 0;           ///< 1 to 10,000 against the other children's, who have 100 without it
};

class Cgroups;

/// A child's own cgroup: one directory in each hierarchy that is in use, or none at all.
class CgroupLeaf {
 public:
  CgroupLeaf() = default;

  /// For SpawnPlan::cgroups. They stay the leaf's.
  std::vector<int> directories() const;
  /// How many of it the out-of-memory killer has killed; empty: it does not count them.
  std::optional<std::uint64_t> oom_kills() const;
  /// All processes in it now, but zombies.
  std::vector<pid_t> members() const;
  /// Kills all of them at one stroke, where the kernel can (v2, Linux 5.14); otherwise does nothing.
  void kill() const;
  /// Removes it. It must be empty; where it is not yet, that is tried again later.
  void discard() noexcept;

 private:
  friend class Cgroups;
  struct Directory {
    std::string path;
    Descriptor fd;
  };
  Cgroups* owner_ = nullptr;
  std::vector<Directory> directories_;
  int oom_file_in_ = -1;  ///< index of the directory that counts
  const char* oom_file_ = nullptr;
};

class Cgroups {
 public:
  struct Remark {
    enum class Weight : std::uint8_t { Debug, Info, Warning } weight;
    std::string text;
  };

  /// Looks at what there is and prepares it, which may move this process. `name` keeps several supervisors in one place
  /// apart, and is the same at each of their starts; `init`: the process above us that is ours too, or 0.
  Cgroups(Guards guards, std::string name, pid_t init, CgroupPlaces places);
  ~Cgroups();
  Cgroups(const Cgroups&) = delete;
  Cgroups& operator=(const Cgroups&) = delete;

  /// What guards the children and what is missing, for the log.
  const std::vector<Remark>& remarks() const { return remarks_; }

  /// A cgroup for one child, with its limits; where it has one of that name, that. Throws std::system_error.
  CgroupLeaf make(std::string_view child_id);
  /// The limits that no cgroup keeps.
  void add_limits(std::vector<SpawnPlan::Limit>& limits) const;

  /// At the start of a supervisor: ends what is left in an earlier one's cgroups, and removes them. One in which a
  /// process carries a cookie of ours, or that is spared (it may have written over its environment), is left alone: it is
  /// known, and another's affair. How many processes were ended.
  std::size_t end_leftovers(std::string_view cookie_prefix, const std::set<pid_t>& spared);

  static constexpr char kSupervisorLeaf[] = "bulkhead-supervisor";

 private:
  friend class CgroupLeaf;
  void prepare_v2();
  bool enable(const std::vector<std::string_view>& controllers);
  void guard_memory();
  void guard_pids();
  void tell_cpu();
  CgroupLeaf make_in(const std::string& name, std::string_view v2, std::string_view v1_memory,
                     std::string_view v1_pids);
  std::string probe(std::string_view v2, std::string_view v1_memory, std::string_view v1_pids);
  void say(Remark::Weight weight, std::string text) { remarks_.push_back({weight, std::move(text)}); }
  void remove(std::string path) noexcept;
  void retry_removals() noexcept;

  const Guards guards_;
  const std::string name_;
  const pid_t init_;
  const CgroupPlaces places_;
  std::string v2_;         ///< where leaves are made; empty: nowhere
  std::string v1_memory_;  ///< likewise
  std::string v1_pids_;
  std::string v2_fault_;                     ///< why there is no v2
  std::vector<std::string> v2_controllers_;  ///< what leaves have
  bool limit_address_space_ = false;
  bool limit_tasks_ = false;
  std::vector<Remark> remarks_;
  std::vector<std::string> not_removed_;
};

}  // namespace bulkhead::process
