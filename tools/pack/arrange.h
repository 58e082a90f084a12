#pragma once
// From a list of inputs and options to a run: its identity, and what this task does of it.

#include <optional>
#include <string>
#include <vector>

#include "tools/pack/folder.h"
#include "tools/pack/inputs.h"
#include "tools/pack/pack_options.h"
#include "tools/pack/write_set.h"

namespace shardreel::tools {

/// Fill in the items' sizes, and return what tells this run from others: a SHA-256 over the
/// deciding options and the inputs' keys, names, sizes and modification times.
Result<std::string> fingerprint(FoundItems& found, const std::string& options);

/// Refuse keys that a segment of another sample will have.
void refuse_segment_keys(FoundItems& found);

/// The splits with the samples this task takes of each, in their order; shards not yet ended.
std::vector<SplitPlan> arrange(const PackOptions& options, const std::vector<PackItem>& items,
                               const std::optional<TaskName>& task);

/// Set where shards end so that they come out even; `survey` knows all samples of the splits.
/// Refused samples go to the end of their split.
void balance_splits(const PackOptions& options, const Survey& survey,
                    std::vector<SplitPlan>& splits);

/// A shard as it would be written.
struct PlannedShard {
  std::string name;
  std::string split;
  std::uint64_t samples = 0, payload_bytes = 0, frames = 0;
  double seconds = 0;
};

/// The shards that writing would give, were samples packed as they are.
std::vector<PlannedShard> planned_shards(const PackOptions& options, const Survey& survey,
                                         const std::vector<SplitPlan>& splits);

}  // namespace shardreel::tools
