#pragma once
// Which rank this process is, and who says so.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "shardreel/error.h"

namespace shardreel {

/// Looks up an environment variable; nothing when it is not set.
using EnvironmentLookup = std::function<std::optional<std::string>(std::string_view name)>;

/// The process's own environment.
[[nodiscard]] EnvironmentLookup process_environment();

struct RankDecision {
  std::uint32_t rank = 0;
  std::uint32_t world_size = 1;
  std::optional<std::uint32_t> local_rank;        ///< among the ranks of this machine, if known
  std::optional<std::uint32_t> local_world_size;  ///< ranks of this machine, if known
  std::string source;  ///< a sentence part for a log: "rank 1 of 4 (RANK and WORLD_SIZE)"
};

/// Decide by the first that speaks: the options; RANK and WORLD_SIZE (torchrun);
/// OMPI_COMM_WORLD_*; PMI_* or PMIX_*; SLURM_PROCID and SLURM_NTASKS, but only inside a step
/// (SLURM_STEP_ID); else a single process. A half or contradictory source is refused
/// (kInvalidOption) instead of being passed over, because ranks that each believe they are alone
/// train on the same data.
Result<RankDecision> decide_rank(std::optional<std::uint32_t> rank,
                                 std::optional<std::uint32_t> world_size,
                                 const EnvironmentLookup& environment);

}  // namespace shardreel
