#pragma once
// The demux step of a lane: samples become open videos, open videos become units, in a fixed order.

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/base/signal.h"
#include "loader/demux/video_file.h"
#include "loader/memory/memory_budget.h"
#include "loader/pipeline/counters.h"
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
  /// stopped. Returns the clips that were planned but did not get into the line.
  std::uint64_t run_pass(std::uint64_t epoch, std::uint64_t rank, std::uint64_t world,
                         const std::stop_token& stop);

  /// "shard X at byte Y" while it waits for one.
  [[nodiscard]] std::string waiting_for() const;

 private:
  struct OpenVideo {
    std::optional<VideoFile> file;
    std::shared_ptr<SampleRecord> sample;
    std::size_t units_left = 0;
    std::size_t clips_left = 0;
  };

  bool open_next(OpenVideo& slot, SampleStream& samples, const std::stop_token& stop);
  bool open_video(OpenVideo& slot, SampleEvent event, const std::stop_token& stop);
  Result<VideoFile> open_file(const ReadItem& item, const Sample& sample, const Field& video);
  bool push_unit(OpenVideo& slot, const std::stop_token& stop);
  std::shared_ptr<UnitJob> cut_unit(OpenVideo& slot, const UnitOutline& outline,
                                    const std::stop_token& stop);
  bool push_through_tier(OpenVideo& slot, const UnitOutline& outline, const std::stop_token& stop);
  bool push_job(std::shared_ptr<UnitJob> job, const std::stop_token& stop);
  bool push_leaving(const ClipId& id, const std::stop_token& stop);
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
  std::vector<ClipId> leaving_;       // the tier
  std::uint64_t clips_unpushed_ = 0;  // of units that were stopped on their way into the line
  std::uint64_t epoch_ = 0;

  mutable Mutex mutex_;
  SampleStream* samples_ SHARDREEL_GUARDED_BY(mutex_) = nullptr;  // of the pass that runs
};

}  // namespace shardreel
