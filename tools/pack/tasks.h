#pragma once
// Which of several tasks this process is, when many machines pack one dataset.

#include <cstdint>
#include <optional>
#include <string>

#include "loader/pipeline/rank.h"
#include "shardreel/error.h"

namespace shardreel::tools {

struct TaskDecision {
  std::uint32_t index = 0;
  std::uint32_t count = 1;
  bool alone = true;   ///< nothing says that there are others
  std::string source;  ///< a sentence part: "task 1 of 4 (SLURM_ARRAY_TASK_ID)"
};

/// Decide by the options where given (both), else by Slurm's array variables times the ranks that
/// `decide_rank` sees (each element of an array may start several). An array element that says less
/// than its place, or a contradiction, is refused (kInvalidOption).
Result<TaskDecision> decide_task(std::optional<std::uint32_t> index,
                                 std::optional<std::uint32_t> count,
                                 const EnvironmentLookup& environment);

}  // namespace shardreel::tools
