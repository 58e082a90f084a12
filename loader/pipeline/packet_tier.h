#pragma once
// The shuffle's first tier, where units wait compressed: thirty times more of them than clips fit
// into the same bytes. Units that leave are decoded in that order, into the pixel tier.

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "loader/demux/video_file.h"
#include "loader/memory/block_pool.h"
#include "loader/memory/memory_budget.h"
#include "loader/pipeline/counters.h"
#include "loader/pipeline/memory_plan.h"
#include "loader/pipeline/unit_line.h"
#include "loader/shuffle/shuffle_order.h"
#include "shardreel/options.h"

namespace shardreel {

/// Takes a lane's units in sequence; gives them in the order that `ShuffleOrder` decides over their
/// ids and sizes. Holds their packets in pages of a pool, within its own share. Never waits. Used
/// by the lane's demux thread.
///
/// Its order goes step by step: what leaves, leaves before what enters is `put`, which needs the
/// room.
class PacketTier {
 public:
  /// `pages` outlives the units that leave.
  PacketTier(const LoaderOptions& options, const MemoryPlan& plan, MemoryLedger& ledger,
             BlockPool& pages, Counters& counters);

  /// Bytes that a unit takes here: pages, windows, the sample's fields that travel along.
  [[nodiscard]] std::uint64_t item_bytes(const UnitOutline& unit, const SampleFields& sample) const;

  /// Whether a unit waits here. One that would take more than a sixteenth of the tier does not: it
  /// would drive out too many others, and is decoded in its turn. Decided by the data and
  /// `shuffle_bytes` alone.
  [[nodiscard]] bool takes(const UnitOutline& unit, const SampleFields& sample) const;

  /// The order, to be told of the next unit and asked what leaves: ids of units that `take` gives,
  /// perhaps the new one itself, which then is not put in at all.
  [[nodiscard]] ShuffleOrder& order() noexcept { return order_; }

  /// Hold `job`: its packets are moved into pages and its reservation into the tier's share. A job
  /// that was lost, or is by this, waits for its turn like the others.
  void put(const ClipId& id, std::shared_ptr<UnitJob> job, std::uint64_t item_bytes);

  /// Give a unit that leaves. Its reservation still counts against the tier's share: move it.
  std::shared_ptr<UnitJob> take(const ClipId& id);

  /// Drop everything; returns the number of clips that were to be made of it.
  std::uint64_t clear();

 private:
  Result<void> pack(UnitJob& job, std::uint64_t item_bytes);

  const std::uint64_t num_frames_;
  const std::uint64_t most_unit_bytes_;
  BlockPool& pages_;
  Counters& counters_;
  MemoryShare share_;
  ShuffleOrder order_;
  std::map<ClipId, std::shared_ptr<UnitJob>> held_;  // what `order_` holds
};

}  // namespace shardreel
