#pragma once
// How many clips an epoch has, before it runs: counted from the shards' indexes.

#include <cstdint>
#include <stop_token>
#include <vector>

#include "loader/pipeline/memory_plan.h"
#include "shardreel/error.h"
#include "shardreel/loader.h"
#include "shardreel/options.h"
#include "shardreel/shard_url.h"

namespace shardreel {

/// Exact, as long as every clip that is cut can be decoded. Immutable.
class EpochLength {
 public:
  /// Read the index of every shard, for options that are resolved except for `batches_per_epoch`.
  /// An error names the shard that makes the length unknowable (no index, a stale one, one made for
  /// other fields), and what would help; kStopped when `stop` was asked for.
  static Result<EpochLength> measure(const LoaderOptions& options, const MemoryPlan& plan,
                                     const ShardList& shards, const std::stop_token& stop = {});

  /// Clips of all ranks together: the same in every epoch.
  [[nodiscard]] std::uint64_t all_clips() const noexcept { return all_clips_; }
  /// Clips that `rank` of all lanes' ranks cuts in `epoch`.
  [[nodiscard]] std::uint64_t clips(std::uint64_t epoch, std::uint64_t rank) const;
  /// What the rank delivers of them, where nothing is repeated or dropped to make ranks equal.
  [[nodiscard]] EpochSize size(std::uint64_t epoch, std::uint64_t rank) const;
  /// Shards and ranks that asking for the clips of each rank in an epoch looks at.
  [[nodiscard]] std::uint64_t steps(std::uint64_t world) const noexcept {
    return world * (shards_ + 1);
  }
  /// What `ranks = equal` gives every rank: all clips, spread evenly.
  [[nodiscard]] std::uint64_t equal_batches() const noexcept;

 private:
  explicit EpochLength(const LoaderOptions& options, std::uint64_t world, std::uint64_t shards);

  BatchOptions batch_;
  std::uint64_t world_ = 1, shards_ = 0;
  std::uint64_t modulo_ = 1;          ///< as `ShardShare::modulo`
  std::vector<std::uint64_t> parts_;  ///< clips, [shards][modulo]
  std::uint64_t all_clips_ = 0;
};

}  // namespace shardreel
