#include "loader/read/shard_plan.h"

#include <numeric>
#include <utility>

#include "loader/base/random.h"

namespace shardreel {

ShardShare plan_shards(std::uint64_t shard_count, ShuffleMode shuffle, std::uint64_t seed,
                       std::uint64_t epoch, std::uint64_t rank, std::uint64_t world) {
  std::vector<std::uint64_t> order(shard_count);
  std::iota(order.begin(), order.end(), std::uint64_t{0});
  if (shuffle != ShuffleMode::kNone) {
    for (std::uint64_t i = shard_count; i > 1; --i) {  // Fisher and Yates, from the end
      const std::uint64_t bits = keyed_hash(seed, Purpose::kShardOrder, {epoch, i});
      std::swap(order[i - 1], order[bounded(bits, i)]);
    }
  }
  ShardShare share;
  if (shard_count < world) {
    share.shards = std::move(order);
    share.modulo = world;
    share.remainder = rank;
    return share;
  }
  share.shards.reserve(shard_count / world + 1);
  for (std::uint64_t i = rank; i < shard_count; i += world) share.shards.push_back(order[i]);
  return share;
}

}  // namespace shardreel
