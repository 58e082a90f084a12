#pragma once
// The report of `verify`, for people and for programs.

#include <cstdint>
#include <optional>
#include <string>

#include "tools/commands/finding.h"
#include "tools/commands/verify_repair.h"

namespace shardreel::tools {

struct VerifyOutcome {
  bool deep = false;
  bool stopped = false;  ///< by a signal: the rest was not looked at
  std::uint64_t shards = 0, samples = 0, videos = 0, frames_decoded = 0;
  std::uint64_t bytes = 0;  ///< of the shards, decompressed
  std::uint64_t manifests = 0, indexes = 0;
  Findings findings;
  std::optional<RepairReport> repair;
};

/// One JSON object in one line; the same for any number of jobs.
[[nodiscard]] std::string verify_json(const VerifyOutcome& outcome);

/// Findings by kind, errors first; of each kind the first `kMostShown`, then the sum.
[[nodiscard]] std::string verify_text(const VerifyOutcome& outcome);

}  // namespace shardreel::tools
