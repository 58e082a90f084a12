#include "loader/pipeline/resolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "loader/memory/process_memory.h"
#include "loader/pipeline/choose_domain.h"
#include "shardreel/units.h"

namespace shardreel {
namespace {

Error all_problems(const std::vector<std::string>& problems) {
  return {ErrorCode::kInvalidOption, fmt::format("{}", fmt::join(problems, "\n")), {}, {}, {}};
}

// An epoch's order takes eight bytes a shard.
constexpr std::uint64_t kMostShards = 100'000'000;
// More than any machine has: such a budget is a slip of the pen.
constexpr std::uint64_t kMostMemory = std::uint64_t{64} << 40;

}  // namespace

Result<ShardList> resolve_shards(const LoaderOptions& options) {
  auto shards = ShardList::parse(options.input.urls);
  if (!shards) return shards;
  if (shards->size() == 0 || shards->size() > kMostShards) {
    return Error{ErrorCode::kInvalidOption,
                 fmt::format("urls names {} shards; expected 1 to {}", shards->size(), kMostShards),
                 {},
                 {},
                 {}};
  }
  return shards;
}

Result<Resolved> resolve(const LoaderOptions& options, const EnvironmentLookup& environment) {
  Resolved resolved;
  resolved.options = options;
  LoaderOptions& all = resolved.options;

  auto rank = decide_rank(options.batch.rank, options.batch.world_size, environment);
  if (!rank) return rank.error();
  all.batch.rank = rank->rank;
  all.batch.world_size = rank->world_size;
  resolved.rank_source = rank->source;
  for (std::string& device : all.resource.devices) {
    if (device == "auto") device = "cpu:0";  // what this build has
  }
  // After the ranks are known: some problems only exist for several of them.
  if (const auto problems = all.validate(); !problems.empty()) return all_problems(problems);

  const auto memory =
      resolve_memory_bytes(all.resource.memory_bytes, rank->local_world_size.value_or(1));
  if (!memory) return memory.error();
  if (*memory > kMostMemory) {
    return Error{ErrorCode::kInvalidOption,
                 fmt::format("memory_bytes is at most {}, not {}", format_bytes(kMostMemory),
                             format_bytes(*memory)),
                 {},
                 {},
                 {}};
  }
  all.resource.memory_bytes = std::to_string(*memory);
  if (all.resource.decode_threads == 0) all.resource.decode_threads = usable_cores();
  if (all.resource.decode == DecodeDevice::kAuto) all.resource.decode = DecodeDevice::kCpu;
  all.batch.drop_last = all.batch.drops_last();
  all.window.window_stride = all.window.stride();

  if (all.resource.shuffle_domain == ShuffleDomain::kAuto) {
    const auto shards = resolve_shards(all);
    if (!shards) return shards.error();
    const DomainChoice choice = choose_domain(all, *shards);
    all.resource.shuffle_domain = choice.domain;
    resolved.domain_reason = choice.why;
  }

  auto plan = make_memory_plan(all);
  if (!plan) return plan.error();
  resolved.plan = *plan;
  if (all.batch.shuffle == ShuffleMode::kAll) {
    all.resource.shuffle_bytes =
        std::to_string(plan->lanes * (plan->lane_shuffle_bytes + plan->lane_packet_tier_bytes));
  }
  return resolved;
}

}  // namespace shardreel
