#pragma once
// From the options a user gave to those in force: everything unset or automatic decided, once.

#include <string>

#include "loader/pipeline/memory_plan.h"
#include "loader/pipeline/rank.h"
#include "shardreel/error.h"
#include "shardreel/options.h"

namespace shardreel {

struct Resolved {
  LoaderOptions options;  ///< complete: rank, sizes in bytes, threads, stride, devices
  MemoryPlan plan;
  std::string rank_source;
};

/// Validate, decide and plan. kInvalidOption lists every problem, kMemory names what would do.
Result<Resolved> resolve(const LoaderOptions& options, const EnvironmentLookup& environment);

}  // namespace shardreel
