#pragma once
// What `shardreel pack` is asked for.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/pack/check.h"
#include "tools/pack/plan.h"
#include "tools/pack/prepare.h"

namespace shardreel::tools {

enum class BalanceBy { kNothing, kBytes, kFrames, kSeconds };

struct PackOptions {
  std::vector<std::string> inputs;  ///< see find_inputs
  std::string root;                 ///< keys of listed paths begin below it
  std::string out;                  ///< folder of the shards, or "s3://BUCKET/PREFIX"
  std::string staging;  ///< with a bucket: packed here first; empty = a folder of the run's own
  std::string finish;   ///< merge the tasks' work in this folder instead of packing
  /// Names of shards begin so. With splits the split's name follows, or stands alone where no
  /// prefix was given.
  std::string prefix = "shard-";
  bool prefix_given = false;
  ShardLimits limits{0, std::uint64_t{1} << 30};
  BalanceBy balance = BalanceBy::kNothing;
  std::optional<std::uint64_t> shuffle;  ///< the seed
  std::vector<Split> splits;             ///< empty = none
  bool group_by_folder = false;
  PrepareOptions prepare;
  bool fail_on_error = false;
  std::optional<std::uint32_t> task_index, task_count;
  std::uint32_t jobs = 0;  ///< 0 = one a processor
  bool overwrite = false;
  bool dry_run = false;
  bool json = false;
  std::string tool = "shardreel";  ///< who packs, with version
};

/// Say what is wrong with the options; nothing when all is good.
std::optional<std::string> problem_with(const PackOptions& options);

/// The options that decide the shards' bytes, as a JSON object.
std::string deciding_options(const PackOptions& options, std::uint32_t tasks);

/// The prefix of a split's shards (`split` empty: the set has none), of one task's when `task` says
/// so.
std::string shard_prefix(const PackOptions& options, const std::string& split,
                         std::optional<std::uint32_t> task);

}  // namespace shardreel::tools
