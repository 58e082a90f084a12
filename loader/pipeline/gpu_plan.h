#pragma once
// The memory plan's table of each GPU.

#include <optional>
#include <string>
#include <vector>

#include "loader/pipeline/memory_plan.h"
#include "shardreel/error.h"
#include "shardreel/loader.h"
#include "shardreel/options.h"
#include "shardreel/shard_url.h"

namespace shardreel {

struct GpuPlan {
  std::vector<PlanRow> rows;  ///< of each GPU; none where no GPU is used
  std::string videos;         ///< which videos the decoders' row is for, or why there is none
};

/// For resolved options. Sessions are those of `assumed`; without, of the video in the shards'
/// indexes that takes most. kInvalidOption: what is assumed is no video.
Result<GpuPlan> plan_gpus(const LoaderOptions& options, const MemoryPlan& plan,
                          const ShardList& shards, const std::optional<AssumedVideo>& assumed);

}  // namespace shardreel
