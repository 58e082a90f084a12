#pragma once
// The right half of a lane: what comes out of the line in sequence goes through the shuffle into
// batches.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "loader/memory/memory_budget.h"
#include "loader/pipeline/batch_queue.h"
#include "loader/pipeline/counters.h"
#include "loader/pipeline/epoch_reasons.h"
#include "loader/pipeline/memory_plan.h"
#include "loader/pipeline/unit_line.h"
#include "loader/shuffle/shuffle_order.h"
#include "shardreel/options.h"

namespace shardreel {

/// What the batcher needs to tell its lane. `generation` is the one it was restarted with: what
/// comes from an old one is void.
struct BatcherEvents {
  /// The epoch's batches are complete before its pass is: give the pass up. Returns clips voided.
  std::function<std::uint64_t(std::uint64_t generation)> abandon_pass;
  /// Feed the samples of the same epoch once more.
  std::function<void(std::uint64_t epoch, std::uint64_t generation)> repeat_pass;
  /// The epoch is over; with `batches_per_epoch`, the next pass is waiting to be told.
  std::function<void(std::uint64_t epoch, std::uint64_t generation)> epoch_over;
  /// One line for the log: what was lost, or that the epoch has no batches.
  std::function<void(std::string_view text)> warn;
};

/// Which rank's the batches are, of how many in all lanes and processes, and how many shards an
/// epoch has for it.
struct RankShare {
  std::uint64_t rank = 0, ranks = 1;
  std::uint64_t shards = 0;
};

/// Takes the line's items in sequence; gives batches, ends of epochs and the failure that ends the
/// run. Holds the shuffle buffer and the batch being made. Waits only for a free batch buffer and a
/// device's copies. Used by the lane's thread.
class Batcher {
 public:
  Batcher(const LoaderOptions& options, const MemoryPlan& plan, std::string device, RankShare share,
          MemoryLedger& ledger, BatchQueue& queue, Counters& counters, BatcherEvents events);

  /// Begin anew with this epoch; what is held is dropped.
  void restart(std::uint64_t epoch, std::uint64_t generation);

  /// Go on from this state, right after `restart`: the line first brings back what it says that is
  /// held.
  void resume(const LaneState& state);

  /// Take one item. False when nothing more can come of this generation (failed, or it was voided).
  bool accept(LineItem item, const std::stop_token& stop);

  /// Drop everything that is held, counted as `reason`.
  void drop_all(DropReason reason);

 private:
  bool on_clip(ClipItem item, const std::stop_token& stop);
  bool bring_back(ClipItem item);
  bool shuffle(ClipItem item, const std::stop_token& stop);
  bool leave(const ClipId& id, const std::stop_token& stop);
  void count_clip(const ClipItem& item);
  void note_place(const std::shared_ptr<const LineMark>& mark,
                  std::shared_ptr<const SampleRecord> sample);
  void note_step(OrderStep::Kind kind, const ClipId& id = {}, std::uint64_t bytes = 0);
  bool on_unit_end(const UnitEnd& end);
  bool on_failure(const FailureItem& failure);
  bool on_end_of_pass(const EndOfPass& end, const std::stop_token& stop);
  bool deliver(Clip clip, const std::stop_token& stop);
  Result<void> write(Clip& clip);
  bool push_batch(const std::stop_token& stop);
  bool end_epoch(const std::stop_token& stop);
  [[nodiscard]] std::string nothing_delivered() const;
  bool fail_run(Error error);
  bool judge(bool at_end);
  void say_lost(std::string_view what, const Error& error);
  void say_losses() const;
  [[nodiscard]] std::string why() const;

  const LoaderOptions& options_;
  const std::string device_;
  const std::uint64_t shards_;  // of this lane in an epoch
  const std::uint64_t rank_;
  const std::uint64_t ranks_;
  BatchQueue& queue_;
  Counters& counters_;
  const BatcherEvents events_;
  MemoryShare shuffle_;

  ShuffleOrder order_;
  std::map<ClipId, Clip> held_;  // what `order_` holds
  std::uint64_t to_bring_back_ = 0;

  std::unique_ptr<BatchBuffer> buffer_;  // of the batch being made
  std::vector<ClipInfo> infos_;

  std::uint64_t restarts_ = 0;  // tells loops that what they walk over is gone
  std::uint64_t epoch_ = 0;
  std::uint64_t generation_ = 0;
  EpochCounts counts_;
  EpochReasons reasons_;
  std::uint64_t samples_said_ = 0;  // that are lost, in the log

  // For the state that goes with the next batch.
  std::vector<LaneNote> notes_;
  std::shared_ptr<const LineMark> place_;       // of the entry that was looked at last
  std::shared_ptr<const SampleRecord> sample_;  // of its unit; shared with the feeder
  std::uint64_t taken_ = 0;                     // clips of that unit
  bool in_unit_ = false;                        // it has not ended
};

}  // namespace shardreel
