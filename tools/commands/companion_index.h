#pragma once
// The indexes that other readers of WebDataset shards want beside them: NVIDIA Energon, NVIDIA DALI
// and wids. docs/format.md says what each is and which shards it cannot describe.

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "shardreel/error.h"
#include "shardreel/shard_index.h"

namespace shardreel::tools {

/// A shard and what such an index says of it.
struct CompanionShard {
  std::string url;
  std::string path;  ///< absolute
  std::uint64_t bytes = 0;
  std::vector<IndexedSample> samples;
  std::optional<Error> failure;
};
using CompanionShards = std::vector<CompanionShard>;

/// Fill in all but `url`. An error where the other reader would take the shard for something else
/// than we do: damaged samples, sparse members, names it cannot read.
Result<void> list_companion_shard(CompanionShard& shard, const std::string& format,
                                  const std::stop_token& stop);

/// Write the indexes: beside the shards and in the folder that is common to them, or in the same
/// places below `directory`. Returns the files' paths.
Result<std::vector<std::string>> write_companion(const CompanionShards& shards,
                                                 const std::string& format,
                                                 const std::string& directory);

/// Energon's `index.sqlite` at `path`: tables `samples` and `sample_parts`. `names` are the shards'
/// names in the order of their numbers.
Result<void> write_energon_database(const CompanionShards& shards, const std::string& path);

}  // namespace shardreel::tools
