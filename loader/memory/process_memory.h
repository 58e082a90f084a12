#pragma once
// What the kernel says of this process and its limits.

#include <cstdint>
#include <optional>

namespace shardreel {

struct ProcessMemory {
  std::uint64_t pss_bytes = 0;  ///< resident, shared pages divided by their users
  std::uint64_t rss_bytes = 0;
  std::uint64_t most_rss_bytes = 0;   ///< the kernel's high-water mark since the program began
  std::uint64_t anonymous_bytes = 0;  ///< of the resident ones: heap, stacks, blocks
};

/// Read /proc/self/smaps_rollup (about a millisecond) and VmHWM of /proc/self/status, which unlike
/// getrusage's is not inherited from the program before; zeros where they are not there.
ProcessMemory process_memory();

/// The tightest memory limit of the cgroups this process is in; nothing when unlimited.
std::optional<std::uint64_t> cgroup_memory_limit();

/// What this process could use at most: the machine's memory, or the cgroup's limit if lower.
std::uint64_t usable_memory();

/// Cores this process may use: the smaller of its affinity mask and its cgroup's CPU quota, >= 1.
std::uint32_t usable_cores();

}  // namespace shardreel
