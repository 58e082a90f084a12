#pragma once
// Which sample goes to which split, in which order, and into which shard: pure functions.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardreel/error.h"

namespace shardreel::tools {

/// A part of the dataset and its share of all groups.
struct Split {
  std::string name;  ///< letters, digits, '_' and '-'
  double share = 1;
};

/// Parse "train=0.9,val=0.1": names once each, shares above 0 that add up to 1 (to a millionth).
Result<std::vector<Split>> parse_splits(std::string_view text);

/// The split of a group: a function of the group's name and the shares before it alone, so that
/// other samples coming or going move nothing. XXH64(group, seed 0) / 2^64 falls into the first
/// split whose cumulated share lies above it.
std::size_t split_of(std::string_view group, std::span<const Split> splits);

/// What must stay together: the key, or with `by_folder` the key's folder.
std::string_view group_of(std::string_view key, bool by_folder);

/// The order of `keys` under a seed: by XXH64(key, seed), equal ones by key. Returns positions.
std::vector<std::size_t> shuffled_order(std::span<const std::string_view> keys, std::uint64_t seed);

/// The part of n samples that a task takes: [n * index / count, n * (index + 1) / count).
std::pair<std::size_t, std::size_t> task_slice(std::size_t n, std::uint32_t index,
                                               std::uint32_t count);

/// A sample as shards are filled: its size, and what is evened out.
struct Load {
  std::uint64_t payload_bytes = 0;
  double weight = 0;
};

struct ShardLimits {
  std::uint64_t samples = 0, bytes = 0;  ///< 0 = no bound
};

/// Spread samples over as few shards as the limits allow with even sums of weight: the heaviest
/// first, each to the lightest shard with room. Returns each shard's samples in their given order.
std::vector<std::vector<std::size_t>> balance(std::span<const Load> samples,
                                              const ShardLimits& limits);

}  // namespace shardreel::tools
