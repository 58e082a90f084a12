#pragma once
// The good samples of shards, written into new shards of the same names.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "shardreel/shard_url.h"
#include "tools/commands/shard_walk.h"

namespace shardreel::tools {

struct LeftOut {
  std::string shard, key;
  std::optional<std::uint64_t> offset;
  std::string reason;
};

struct RepairReport {
  std::string directory;
  std::uint64_t shards = 0, samples = 0, bytes = 0;  ///< written; bytes of the shard files
  std::uint64_t left_out_count = 0;
  std::vector<LeftOut> left_out;  ///< the first kMostLeftOut
  static constexpr std::size_t kMostLeftOut = 1000;
};

/// Why a sample is left out; empty = it is good.
using Verdict = std::function<std::string(std::uint64_t shard_number, const Sample& sample)>;

/// The names of the new shards: the shard's file name without the ending of a compression, or
/// "shard-NNNNNN.tar" (its number) where it has none. kInvalidOption when two are the same or one
/// is there already: nothing is ever written over.
Result<std::vector<std::string>> repaired_names(const ShardList& shards,
                                                const std::string& directory);

/// Read the shards again and write what `verdict` calls good, members' bytes unchanged. A shard
/// appears when it is complete and on disk; one without any good sample does not appear.
Result<RepairReport> repair_shards(const ShardList& shards, const std::vector<std::string>& names,
                                   const std::string& directory, const Verdict& verdict,
                                   const std::stop_token& stop);

}  // namespace shardreel::tools
