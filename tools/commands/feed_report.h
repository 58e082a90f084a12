#pragma once
// The summary of a `feed` run, for people and for programs.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shardreel/loader.h"
#include "tools/commands/clip_record.h"

namespace shardreel::tools {

/// What one lane's consumer saw.
struct LaneOutcome {
  Digest order{};
  std::optional<Digest> pixels;  ///< when it was wanted
  std::uint64_t clips = 0, batches = 0;
};

struct FeedOutcome {
  std::vector<LaneOutcome> lanes;
  std::optional<Error> failure;  ///< why the run ended early
  int signal = 0;                ///< that ended it early, or 0
  std::string rank_source;
  /// When a consumer had the first batch: seconds since 1970, to compare with when the process was
  /// started.
  std::optional<double> first_batch_at;
};

/// One JSON object in one line. `error` is there only when the run failed.
[[nodiscard]] std::string report_json(const Metrics& metrics, const LoaderOptions& resolved,
                                      const FeedOutcome& outcome);

/// Some lines of text.
[[nodiscard]] std::string report_text(const Metrics& metrics, const FeedOutcome& outcome);

/// A warning where the process has grown by over 15 % more than the loader's ledger accounts for;
/// else empty. Only for a program that does nothing beside loading: the kernel does not say whose
/// memory it is.
[[nodiscard]] std::string unaccounted_memory(const Metrics& metrics);

}  // namespace shardreel::tools
