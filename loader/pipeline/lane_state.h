#pragma once
// Where a lane stands after the last batch that was handed out. Kept current by what the lane notes
// between batches, never by copying what it holds. See docs/decisions/0010-resume.md.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "loader/pipeline/memory_plan.h"
#include "loader/read/sample_stream.h"
#include "loader/read/shard_content.h"
#include "loader/shuffle/shuffle_order.h"
#include "shardreel/error.h"

namespace shardreel {

/// What decides the order of a lane's two tiers.
[[nodiscard]] ShuffleOrderOptions pixel_order_options(const LoaderOptions& options,
                                                      const MemoryPlan& plan);
[[nodiscard]] ShuffleOrderOptions tier_order_options(const LoaderOptions& options,
                                                     const MemoryPlan& plan);

/// One step of a shuffle's order.
struct OrderStep {
  enum class Kind { kEnter, kLeave, kLeaveForRoom } kind = Kind::kLeave;
  ClipId id;                           ///< what enters
  std::uint64_t bytes = 0, clips = 0;  ///< of what enters
  void apply(ShuffleOrder& order) const;
};

using SampleKey = std::pair<std::uint64_t, std::uint64_t>;  ///< shard number, ordinal in the shard

/// Where the demux step stands, after an entry that it pushed into the line.
struct FeedPosition {
  struct Slot {
    bool open = false;
    SampleKey sample;
    std::uint64_t units_done = 0;
    friend bool operator==(const Slot&, const Slot&) = default;
  };
  StreamPosition stream;
  std::vector<Slot> slots;
  std::uint64_t turn = 0;
  bool drains = false;  ///< all samples are read: the tier is being emptied
  bool ended = false;   ///< the end of the pass was pushed
};

/// What an entry of the line says of its place. Immutable.
struct LineMark {
  FeedPosition after;           ///< where the feed goes on behind the entry
  std::vector<OrderStep> tier;  ///< the packet tier's steps since the entry before

  // Of a unit.
  SampleKey sample;
  std::uint64_t first_window = 0;
  std::uint64_t taken_before = 0;  ///< of its clips, before the run was resumed
  /// Its clips are held by the shuffle already: they are brought back, not new.
  bool brings_back = false;
};

/// How far a sample got whose units have not all ended.
struct SampleProgress {
  std::uint64_t units_ended = 0;
  std::uint64_t clips_made = 0;
  std::optional<Error> first_loss;
};

/// The unit that the lane is taking clips from.
struct CurrentUnit {
  SampleKey sample;
  std::uint64_t first_window = 0;
  std::uint64_t taken = 0;  ///< clips, lost ones too
  SampleProgress progress;  ///< of the sample, as far as it got with this unit
};

/// Counts of an epoch that decide what comes of it.
struct EpochCounts {
  std::uint64_t pass = 0;  ///< > 0 repeats the epoch's clips
  std::uint64_t batches = 0;
  std::uint64_t clips_in_epoch = 0, clips_in_pass = 0;
  std::uint64_t samples_seen = 0, samples_failed = 0, shards_failed = 0;
  std::uint64_t clips_lost = 0;  ///< in the first pass
  std::optional<Error> first_failure;
};

/// What the lane noted between two batches, in sequence.
struct NewPass {};
struct SampleNews {
  SampleKey sample;
  std::optional<SampleProgress> progress;  ///< nothing: all its units have ended
};
using LaneNote = std::variant<std::shared_ptr<const LineMark>, OrderStep, SampleNews, NewPass>;

/// Travels with a batch.
struct BatchMark {
  std::vector<LaneNote> notes;
  std::optional<CurrentUnit> current;
  EpochCounts counts;
  bool epoch_complete = false;  ///< nothing but the news of it comes behind this batch
};

struct LaneState {
  LaneState(const ShuffleOrderOptions& pixel_options, const ShuffleOrderOptions& tier_options)
      : pixels(pixel_options), packets(tier_options) {}

  /// Stand at the beginning of an epoch.
  void begin(std::uint64_t first);
  /// The batch was handed out.
  void apply(const BatchMark& mark);

  std::uint64_t epoch = 0;
  std::uint64_t epochs_taken = 0;  ///< whose end was handed out
  bool begun = false;              ///< a batch of the epoch was handed out; else the rest is void
  bool epoch_complete = false;
  EpochCounts counts;
  FeedPosition feed;
  std::optional<CurrentUnit> current;
  std::map<SampleKey, SampleProgress> samples;
  ShuffleOrder pixels;
  ShuffleOrder packets;  ///< empty in the frames' domain
  /// Shards that it refers to, as they were; only in a state that was read.
  std::map<std::uint64_t, ShardContent> contents;

  /// Numbers of the shards that are open or whose clips are held.
  [[nodiscard]] std::set<std::uint64_t> shards() const;
};

}  // namespace shardreel
