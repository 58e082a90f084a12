#pragma once
// Samples into shards, in order, with a journal of what is done.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "shards/dataset_manifest.h"
#include "tools/pack/inputs.h"
#include "tools/pack/journal.h"
#include "tools/pack/plan.h"
#include "tools/pack/prepare.h"
#include "tools/pack/progress.h"
#include "tools/pack/tally.h"

namespace shardreel::tools {

/// The shards of one split, as this run writes them.
struct SplitPlan {
  std::string name;                ///< empty when the set has no splits
  std::string prefix;              ///< of the shards' names
  std::vector<std::size_t> order;  ///< of the samples, by their place in the list of inputs
  /// Where shards end in `order`, ascending; nothing: each ends where the limits say.
  std::optional<std::vector<std::size_t>> ends;
};

/// What a look at a sample said, before anything is written.
struct Surveyed {
  std::optional<Error> refused;
  std::uint64_t payload_bytes = 0;
  std::optional<VideoSummary> video;
};
using Survey = std::map<std::size_t, Surveyed>;  ///< by place in the list of inputs

/// How far the set is. The journal's lines give it back after a kill.
struct SetState {
  std::vector<ManifestShard> shards;  ///< whole and on disk, in the order they were written
  Tally tally;                        ///< of those, and of what was refused before them
  std::size_t split = 0;              ///< where to go on: split,
  std::size_t item = 0;               ///< place in its order,
  std::size_t part = 0;               ///< and sample of that item, where it gives several
  Survey survey;
  bool done = false;

  /// Read the journal's lines behind its header. kInternal when they are none of ours.
  static Result<SetState> load(std::span<const std::string> lines);
};

struct SetJob {
  std::string directory;
  std::vector<SplitPlan> splits;
  ShardLimits limits;
  PrepareOptions prepare;
  std::size_t jobs = 1;
  bool overwrite = false;  ///< of shards in the way: those of a killed run, or asked for
};

/// Look at all samples of the splits that `state` has no word of, several at once. `journal` may be
/// null (then nothing is noted). kStopped when `stop` asks.
Result<void> survey_set(const std::vector<PackItem>& items, const SetJob& job, SetState& state,
                        Journal* journal, Progress& progress, const std::stop_token& stop);

/// Write all shards that `state` does not have yet, noting each in the journal as soon as it is on
/// disk. The bytes depend on items, splits, limits and preparation alone. Errors end the run; the
/// shard that was being written is removed, and the journal stays true.
Result<void> write_set(const std::vector<PackItem>& items, const SetJob& job, SetState& state,
                       Journal& journal, Progress& progress, const std::stop_token& stop);

}  // namespace shardreel::tools
