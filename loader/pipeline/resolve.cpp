#include "loader/pipeline/resolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "loader/device/device_registry.h"
#include "loader/memory/process_memory.h"
#include "loader/pipeline/choose_domain.h"
#include "loader/pipeline/epoch_length.h"
#include "loader/pipeline/lane_device.h"
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

/// Whether the shards are worth keeping in the page cache: when they will be there for the next
/// epoch. Taken from the first one's size; what is not a file is not in that cache.
PageCache decide_page_cache(const ShardList& shards) {
  const auto path = local_shard_path(shards.at(0));
  std::error_code error;
  const auto bytes = path ? std::filesystem::file_size(*path, error) : 0;
  const auto all = checked_mul(error ? 0 : std::uint64_t{bytes}, shards.size());
  return !all || *all > usable_memory() / 2 ? PageCache::kDrop : PageCache::kKeep;
}

/// The first rank of an epoch that is to be run that has nothing. All ranks find the same one, so
/// none of them waits for it. Looks at as many epochs as take no time to speak of.
struct RankWithoutClips {
  std::uint64_t epoch = 0, rank = 0;
};
std::optional<RankWithoutClips> find_rank_without_clips(const BatchOptions& batch,
                                                        const EpochLength& length,
                                                        std::uint64_t world) {
  constexpr std::uint64_t kMostSteps = 10'000'000;  // ranks and shards that are looked at
  const std::uint64_t most = std::max<std::uint64_t>(1, kMostSteps / length.steps(world));
  const std::uint64_t epochs = batch.epochs == 0 ? most : std::min(batch.epochs, most);
  for (std::uint64_t epoch = batch.epoch; epoch < batch.epoch + epochs; ++epoch) {
    for (std::uint64_t rank = 0; rank < world; ++rank) {
      if (length.clips(epoch, rank) == 0) return RankWithoutClips{epoch, rank};
    }
  }
  return std::nullopt;
}

/// With several equal ranks: how many batches each gives, unless that was said.
Result<void> decide_batches(LoaderOptions& options, const MemoryPlan& plan, const ShardList& shards,
                            const std::stop_token& stop) {
  const std::uint64_t world = *options.batch.world_size * plan.lanes;
  if (world == 1 || options.batch.ranks != RankMode::kEqual || options.batch.batches_per_epoch)
    return {};
  const auto length = EpochLength::measure(options, plan, shards, stop);
  if (!length && length.error().code == ErrorCode::kStopped) return length.error();
  if (!length) {
    return Error{ErrorCode::kInvalidOption,
                 fmt::format("ranks = equal over {} ranks needs batches_per_epoch, because how "
                             "many clips each rank has is not known: {}. Give batches_per_epoch, "
                             "make indexes of all shards, or use ranks = exact where ranks may end "
                             "at different times",
                             world, length.error().describe()),
                 {},
                 {},
                 {}};
  }
  options.batch.batches_per_epoch = length->equal_batches();
  if (const auto without = find_rank_without_clips(options.batch, *length, world)) {
    return Error{ErrorCode::kEmptyEpoch,
                 fmt::format("ranks = equal cannot be met: rank {} of {} has no clips in epoch {}, "
                             "by the shards' indexes, so there is nothing to repeat. Take fewer "
                             "ranks, spread the samples over the shards, or use ranks = exact",
                             without->rank, world, without->epoch),
                 {},
                 {},
                 {}};
  }
  return {};
}

std::string gpu_of_rank(const RankDecision& rank, const CudaPresence& presence) {
  return fmt::format("cuda:{}", rank.local_rank.value_or(0) % presence.devices);
}

/// A plan is often made where the GPUs are not.
std::vector<std::string> problems_of(LoaderOptions options, ResolveTo purpose) {
  std::vector<std::string>& devices = options.resource.devices;
  if (purpose == ResolveTo::kPlan && std::ranges::all_of(devices, is_gpu)) {
    for (std::string& device : devices) device.replace(0, device.find(':'), "cpu");
  }
  if (purpose == ResolveTo::kPlan) options.resource.decode = DecodeDevice::kCpu;
  return options.validate();
}

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

Result<Resolved> resolve(const LoaderOptions& options, const EnvironmentLookup& environment,
                         ResolveTo purpose, const std::stop_token& stop) {
  Resolved resolved;
  resolved.options = options;
  LoaderOptions& all = resolved.options;

  auto rank = decide_rank(options.batch.rank, options.batch.world_size, environment);
  if (!rank) return rank.error();
  all.batch.rank = rank->rank;
  all.batch.world_size = rank->world_size;
  resolved.rank_source = rank->source;
  for (std::string& device : all.resource.devices) {
    if (device != "auto") continue;
    // One lane, however many GPUs there are: lanes are ranks, and decide who gets which clip.
    const CudaPresence presence = cuda_presence();
    device = presence.devices == 0 ? "cpu:0" : gpu_of_rank(*rank, presence);
    resolved.device_reason =
        fmt::format("devices = auto is {}, and {}", device,
                    presence.devices == 0 ? "the CPU decodes: no CUDA here: " + presence.why_none
                    : all.resource.decode == DecodeDevice::kCpu ? "the CPU decodes"
                                                                : "that GPU decodes what it takes");
  }
  // After the ranks are known: some problems only exist for several of them.
  if (const auto problems = problems_of(all, purpose); !problems.empty())
    return all_problems(problems);

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
  // Where batches are in host memory, the CPU's cores are what was asked for.
  if (all.resource.decode == DecodeDevice::kAuto &&
      std::ranges::none_of(all.resource.devices, is_gpu))
    all.resource.decode = DecodeDevice::kCpu;
  if (std::ranges::all_of(all.resource.devices, is_gpu)) {
    resolved.gpus = all.resource.devices;
  } else if (all.resource.decode == DecodeDevice::kCuda && purpose == ResolveTo::kRun) {
    resolved.gpus = {gpu_of_rank(*rank, cuda_presence())};
  }
  all.batch.drop_last = all.batch.drops_last();
  all.window.window_stride = all.window.stride();

  const auto shards = resolve_shards(all);
  if (!shards) return shards.error();
  if (all.resource.shuffle_domain == ShuffleDomain::kAuto) {
    const DomainChoice choice = choose_domain(all, *shards, stop);
    all.resource.shuffle_domain = choice.domain;
    resolved.domain_reason = choice.why;
  }

  if (stop.stop_requested())
    return Error{ErrorCode::kStopped, "stopped while opening the loader", {}, {}, {}};
  if (all.input.page_cache == PageCache::kAuto) all.input.page_cache = decide_page_cache(*shards);

  auto plan = make_memory_plan(all);
  if (!plan) return plan.error();
  resolved.plan = *plan;
  // With fewer shards than ranks all ranks walk all of them: one would drop what another needs.
  if (shards->size() < *all.batch.world_size * plan->lanes) all.input.page_cache = PageCache::kKeep;
  if (auto equal = decide_batches(all, resolved.plan, *shards, stop); !equal) return equal.error();
  if (all.batch.shuffle == ShuffleMode::kAll) {
    all.resource.shuffle_bytes =
        std::to_string(plan->lanes * (plan->lane_shuffle_bytes + plan->lane_packet_tier_bytes));
  }
  return resolved;
}

}  // namespace shardreel
