#pragma once
// A lane's units and failures in sequence: cut on the left, decoded by whoever is free, taken on
// the right in their order.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <variant>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/base/signal.h"
#include "loader/demux/unit.h"
#include "loader/memory/memory_budget.h"
#include "loader/pipeline/lane_state.h"
#include "loader/read/sample_stream.h"
#include "loader/window/clip.h"
#include "loader/window/clip_cutter.h"

namespace shardreel {

/// What the units of one sample have in common; used by the feeder, then by the lane, never by
/// both.
struct SampleRecord {
  ClipContext context;
  std::uint64_t units_left = 0;  ///< whose end has not been seen; they may end in any order
  std::uint64_t units_ended = 0;
  std::uint64_t clips_made = 0;
  std::optional<Error> first_loss;
};

/// A unit in the line, or a part of one.
struct UnitJob {
  Reservation packets;  ///< of the packets' share, until decoded; before the unit: it dies after it
  Unit unit;
  std::shared_ptr<SampleRecord> sample;  // shared by the units of the sample
  std::uint64_t units = 1;               ///< of the sample that it stands for
  std::uint64_t decoder_bytes = 0;       ///< decoder, frames in flight, scaler
  std::uint64_t clip_bytes = 0;          ///< of one clip with its fields
  std::shared_ptr<const LineMark> mark;  // shared with what the lane notes for its state
  bool goes_on = false;  ///< the next job is of the same unit: this one's end is not the unit's

  // Set when the unit is given to a decoder.
  Reservation memory;            ///< granted so far and not used yet
  bool partly = false;           ///< more is granted clip by clip, see UnitLine
  std::uint64_t open_bytes = 0;  ///< of the clips that are open at one time
  std::stop_token stop;

  // Under the line's mutex.
  std::vector<std::optional<ClipResult>> results;
  std::size_t taken = 0;
  std::size_t begun = 0;
  bool dispatched = false;
  bool done = false;

  /// Clips that it makes or lost.
  [[nodiscard]] std::size_t clips() const { return done ? results.size() : unit.windows.size(); }
  /// Give up what it holds; `error` is what became of every clip.
  void lose(const Error& error);
};

/// A failure in its place.
struct FailureItem {
  Error error;
  /// kState: the run cannot be resumed, and ends.
  enum class Of { kSample, kShard, kTooShort, kFiltered, kState } of = Of::kSample;
  std::shared_ptr<const LineMark> mark;
};
/// All units of the pass (one walk over the lane's samples of an epoch) are before this.
struct EndOfPass {
  std::uint64_t epoch = 0;
  std::shared_ptr<const LineMark> mark;
  EmptyShards empty_shards = {};
};
struct ClipItem {
  ClipResult result;
  std::shared_ptr<SampleRecord> sample;
  std::shared_ptr<const LineMark> mark;  ///< of its unit
};
struct UnitEnd {
  std::shared_ptr<SampleRecord> sample;
  std::uint64_t units = 1;  ///< that ended
  std::shared_ptr<const LineMark> mark;
};
/// The line was cleared: what the lane has of the old pass is void.
struct Cleared {};
using LineItem = std::variant<ClipItem, UnitEnd, FailureItem, EndOfPass, Cleared>;

/// Memory is granted in sequence order. Where decode threads may wait for it, a unit is granted its
/// decoder and the clips that are open at one time, then clip by clip; else all at once, and only
/// the head of the line, if it is too long for the share, clip by clip. Whoever is behind leaves to
/// those before it what their next clips take, so all that the head waits for is freed by the lane,
/// to its right, and all that others wait for by those before them. Thread-safe.
class UnitLine {
 public:
  /// Which units' decode threads may wait for memory. kAny holds fewer bytes for a later use, so
  /// that more is decoded side by side; it is for threads that serve no other line: they wait for
  /// this one's consumer, too.
  enum class Waits { kHead, kAny };

  /// `decode` is the lane's share for decoders and clips being made. `most_ahead`: entries that no
  /// decoder was given. `wake` is called when a unit may have become ready to be decoded.
  UnitLine(MemoryShare& decode, Waits waits, std::size_t most_ahead, std::function<void()> wake);

  // --- the feeder
  /// Append; waits while the line is long: a few entries at first, more with each that a decoder
  /// was given, up to `most_ahead`. False when `stop` was asked for: nothing was appended.
  /// A job that is `done` already brings its results along.
  bool push(std::shared_ptr<UnitJob> job, const std::stop_token& stop);
  bool push(FailureItem failure, const std::stop_token& stop);
  bool push(EndOfPass end, const std::stop_token& stop);

  // --- decode threads
  /// The next unit in sequence, when its memory is granted; null otherwise.
  std::shared_ptr<UnitJob> try_take();
  /// Memory for the unit's next clip; waits where the unit was granted less than all.
  Result<Reservation> begin_clip(UnitJob& job);
  void emit(UnitJob& job, std::size_t clip, ClipResult result);
  /// The unit was decoded (every clip emitted): gives back what it holds.
  void finish(UnitJob& job);

  // --- the lane
  /// Wait for the next item in sequence; nothing when stopped.
  std::optional<LineItem> next(const std::stop_token& stop);
  /// Void everything in the line and stop what is being decoded; returns the number of clips
  /// voided. `next` gives `Cleared` first when `tell` is set.
  std::uint64_t clear(bool tell);

 private:
  struct Entry {
    std::variant<std::shared_ptr<UnitJob>, FailureItem, EndOfPass> what;
  };
  bool push_entry(Entry entry, const std::stop_token& stop);
  enum class Grant { kYes, kNotNow, kNever };
  Grant grant(UnitJob& job, bool head) SHARDREEL_REQUIRES(mutex_);
  [[nodiscard]] std::uint64_t spared_before(const UnitJob& job) const SHARDREEL_REQUIRES(mutex_);
  std::optional<Reservation> reserve_behind(const UnitJob& job, std::uint64_t bytes, MemoryTag tag)
      SHARDREEL_REQUIRES(mutex_);
  std::optional<Reservation> take_clip(UnitJob& job) SHARDREEL_REQUIRES(mutex_);
  void fail_for_memory(UnitJob& job) SHARDREEL_REQUIRES(mutex_);

  MemoryShare& decode_;
  const Waits waits_;
  const std::size_t most_ahead_;
  const std::function<void()> wake_;
  Signal freed_;  // memory of the decode share came back

  Mutex mutex_;
  Condition changed_;
  std::deque<Entry> entries_ SHARDREEL_GUARDED_BY(mutex_);
  std::size_t dispatched_ SHARDREEL_GUARDED_BY(mutex_) = 0;  // entries before it are given out
  std::uint64_t dispatched_ever_ SHARDREEL_GUARDED_BY(mutex_) = 0;
  bool tell_cleared_ SHARDREEL_GUARDED_BY(mutex_) = false;
  std::stop_source running_ SHARDREEL_GUARDED_BY(mutex_);  // stops the units being decoded
};

}  // namespace shardreel
