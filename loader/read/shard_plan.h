#pragma once
// Which rank reads which shards, in which order: pure.

#include <cstdint>
#include <vector>

#include "shardreel/options.h"

namespace shardreel {

/// One rank's part of one epoch.
struct ShardShare {
  std::vector<std::uint64_t> shards;  ///< numbers in the expanded list, in reading order
  /// Samples to take: those whose ordinal in the shard leaves this remainder. Modulo 1 = all.
  std::uint64_t modulo = 1;
  std::uint64_t remainder = 0;
};

/// The epoch's list is shuffled by (seed, epoch), unless shuffle = none. With at least as many
/// shards as ranks, rank r takes every world-th from the r-th on; with fewer, every rank walks all
/// shards and takes samples by ordinal modulo world. The shares of all ranks are disjoint and
/// complete.
ShardShare plan_shards(std::uint64_t shard_count, ShuffleMode shuffle, std::uint64_t seed,
                       std::uint64_t epoch, std::uint64_t rank, std::uint64_t world);

}  // namespace shardreel
