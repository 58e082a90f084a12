#pragma once
// The state of a whole loader as JSON, and whether it fits the options of another one.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "loader/pipeline/lane_state.h"
#include "loader/pipeline/memory_plan.h"
#include "shardreel/error.h"
#include "shardreel/options.h"
#include "shardreel/shard_url.h"

namespace shardreel {

/// Write the state of all lanes with what decides order and pixels of `options` (complete ones),
/// and the contents of the shards that they refer to.
std::string write_state(const LoaderOptions& options, const ShardList& shards,
                        const std::vector<LaneState>& lanes,
                        const std::map<std::uint64_t, ShardContent>& contents);

/// Decide what `options` leave open as the state has it (`auto`, batches of an epoch).
/// kInvalidOption when the text is no state.
Result<void> adopt_decisions(std::string_view state, LoaderOptions& options);

/// Read the lanes' states for a loader with these complete options; kInvalidOption names everything
/// in which they differ from those the state was made with.
Result<std::vector<LaneState>> read_state(std::string_view state, const LoaderOptions& options,
                                          const MemoryPlan& plan, const ShardList& shards);

}  // namespace shardreel
