#pragma once
// From the options a user gave to those in force: everything unset or automatic decided, once.

#include <stop_token>
#include <string>

#include "loader/pipeline/memory_plan.h"
#include "loader/pipeline/rank.h"
#include "shardreel/error.h"
#include "shardreel/options.h"
#include "shardreel/shard_url.h"

namespace shardreel {

struct Resolved {
  LoaderOptions options;  ///< complete: rank, sizes in bytes, threads, stride, devices
  MemoryPlan plan;
  std::string rank_source;
  std::string
      domain_reason;  ///< why `shuffle_domain = auto` is what it is; empty when it was given
  std::string device_reason;      ///< the same for `devices = auto`
  std::vector<std::string> gpus;  ///< that are used: the lanes', or one to decode on
};

/// Parse `urls`; refuses a list that names nothing, or more shards than one epoch can order.
Result<ShardList> resolve_shards(const LoaderOptions& options);

/// To run is refused without the devices that are named; to plan is not.
enum class ResolveTo { kRun, kPlan };

/// Validate, decide and plan. Reads nothing but the first shard's size, except for `shuffle_domain
/// = auto` (choose_domain.h) and the indexes of all shards where equal ranks take them to know
/// `batches_per_epoch`. kInvalidOption lists every problem, kMemory names what would do; kStopped
/// when `stop` was asked for.
Result<Resolved> resolve(const LoaderOptions& options, const EnvironmentLookup& environment,
                         ResolveTo purpose = ResolveTo::kRun, const std::stop_token& stop = {});

}  // namespace shardreel
