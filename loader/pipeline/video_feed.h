#pragma once
// The demux step of a lane: samples become open videos, open videos become units, in a fixed order.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/base/signal.h"
#include "loader/demux/video_file.h"
#include "loader/memory/memory_budget.h"
#include "loader/pipeline/counters.h"
#include "loader/pipeline/lane_state.h"
#include "loader/pipeline/memory_plan.h"
#include "loader/pipeline/packet_tier.h"
#include "loader/pipeline/sample_filter.h"
#include "loader/pipeline/unit_line.h"
#include "loader/read/read_service.h"
#include "loader/read/sample_stream.h"

namespace shardreel {

/// Takes one lane's samples of an epoch; pushes units and failures into its line: `open_videos`
/// videos give one unit each in turn, a video that ends is replaced by the next sample in the same
/// turn. With a packet tier, units wait there for their random turn before they are pushed. Holds
/// the open videos, one unit and the tier. Waits for samples, for room in the packets' share and
/// in the line; stops with the token. Used by the lane's demux thread; `waiting_for` by any.
class VideoFeed {
 public:
  VideoFeed(const LoaderOptions& options, const MemoryPlan& plan, ReadService& reading,
            MemoryLedger& ledger, BlockPool& packet_pages, UnitLine& line, Counters& counters);

  /// Walk over the samples of `epoch` that `rank` of `world` has, once; ends with EndOfPass unless
  /// stopped. With a state (of this epoch), first bring back what the shuffle held, then go on
  /// where it stood. Returns the clips that were planned but did not get into the line.
  std::uint64_t run_pass(std::uint64_t epoch, std::uint64_t rank, std::uint64_t world,
                         const LaneState* from, const std::stop_token& stop);

  /// "shard X at byte Y" while it waits for one.
  [[nodiscard]] std::string waiting_for() const;

 private:
  struct OpenVideo {
    std::optional<VideoFile> file;
    std::shared_ptr<SampleRecord> sample;
    std::size_t units_done = 0;
    std::size_t units_left = 0;
    std::size_t parts_left = 1;  // of the next unit
    std::size_t clips_left = 0;
  };
  /// A sample that was looked at: a video with windows, or why there is none.
  struct Looked {
    OpenVideo video;
    std::vector<std::uint64_t> windows;  // their ordinals
    std::optional<FailureItem> refused;
  };
  /// What a state has of one sample.
  struct Needed {
    std::set<std::uint64_t> windows;  // whose clips the pixel tier held
    std::set<std::uint64_t> units;    // that the packet tier held, by their first window
  };
  enum class Turn { kGoesOn, kOver, kOverWithoutCut };

  void walk(SampleStream& samples, const std::stop_token& stop);
  void drain_tier(const std::stop_token& stop);
  std::optional<Looked> look_at(SampleEvent event, const std::stop_token& stop);
  [[nodiscard]] std::shared_ptr<LineMark> mark(Turn turn);

  // Resuming, video_feed_resume.cpp: false = stopped, or the state does not fit.
  bool resume(const LaneState& from, const SampleStreamOptions& reading,
              const std::stop_token& stop);
  bool fetch(const std::map<std::uint64_t, std::set<std::uint64_t>>& wanted,
             const SampleStreamOptions& reading, const std::stop_token& stop,
             const std::function<bool(SampleKey, Looked)>& take);
  bool bring_back(const LaneState& from, const SampleKey& key, Looked looked, const Needed& needed,
                  const std::stop_token& stop);
  bool resume_unit(const LaneState& from, Looked looked, const std::stop_token& stop);
  bool shards_are_as_they_were(const LaneState& from, const std::stop_token& stop);
  bool not_as_it_was(const std::string& what, const std::stop_token& stop);
  void share_record(const LaneState& from, const SampleKey& key, OpenVideo& video);
  static void skip_unit(OpenVideo& video, const UnitOutline& outline);

  bool open_next(OpenVideo& slot, SampleStream& samples, const std::stop_token& stop);
  bool open_video(OpenVideo& slot, SampleEvent event, const std::stop_token& stop);
  Result<VideoFile> open_file(const ReadItem& item, const Sample& sample, const Field& video);
  bool push_unit(OpenVideo& slot, const std::stop_token& stop);
  bool push_parts(OpenVideo& slot, const UnitOutline& outline, const std::stop_token& stop);
  std::shared_ptr<UnitJob> cut_unit(OpenVideo& slot, const UnitOutline& outline,
                                    const std::stop_token& stop);
  bool push_through_tier(OpenVideo& slot, const UnitOutline& outline, const std::stop_token& stop);
  bool push_job(std::shared_ptr<UnitJob> job, std::uint64_t first_window, Turn turn,
                const std::stop_token& stop);
  std::shared_ptr<LineMark> mark_unit(const UnitJob& job, std::uint64_t first_window, Turn turn);
  bool push_marked(std::shared_ptr<UnitJob> job, const std::stop_token& stop);
  bool push_leaving(const ClipId& id, Turn turn, const std::stop_token& stop);
  void tier_step(OrderStep::Kind kind, const ClipId& id = {}, std::uint64_t bytes = 0,
                 std::uint64_t clips = 0);
  bool fail(Error error, FailureItem::Of of, const std::stop_token& stop);
  [[nodiscard]] std::string too_short(const VideoFacts& facts) const;
  std::shared_ptr<const SampleFields> travelling_fields(const Sample& sample, const Field& video);

  const LoaderOptions& options_;
  const MemoryPlan& plan_;
  ReadService& reading_;
  UnitLine& line_;
  Counters& counters_;
  const SampleFilter filter_;
  Signal freed_;         // raised when bytes of either share come back; outlives both
  MemoryShare videos_;   // bytes of the open videos
  MemoryShare packets_;  // bytes of units that wait to be decoded
  std::optional<PacketTier> tier_;
  std::vector<OpenVideo> slots_;
  std::size_t turn_ = 0;
  bool drains_ = false;
  SampleStream* stream_ = nullptr;                              // of the pass that runs
  std::vector<OrderStep> tier_steps_;                           // since the last entry of the line
  std::map<SampleKey, std::shared_ptr<SampleRecord>> records_;  // while resuming
  std::uint64_t clips_urgent_ = 0;    // that the pass's first batch still waits for
  std::uint64_t clips_unpushed_ = 0;  // of units that were stopped on their way into the line
  std::uint64_t epoch_ = 0;

  mutable Mutex mutex_;
  SampleStream* samples_ SHARDREEL_GUARDED_BY(mutex_) = nullptr;  // of the pass that runs
};

}  // namespace shardreel
