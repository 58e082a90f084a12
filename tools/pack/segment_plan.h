#pragma once
// Where a video is cut, and what each segment is made of. Pure: packet numbers and times only.

#include <cstdint>
#include <vector>

#include "loader/demux/packet_index.h"

namespace shardreel::tools {

struct SegmentPlanOptions {
  std::int64_t ticks = 0;          ///< a segment is at least so long, but for the last
  std::int64_t last_duration = 0;  ///< of the frame that is shown last; 0 = unknown
  /// The codec's non-displayable packets are broken leading pictures: they are left out.
  bool hidden_are_broken = false;
  /// The container can hide packets, so that groups with leading pictures can be parted.
  bool can_hide = false;
  /// Decoders show everything from an open group's keyframe on, when they begin there.
  bool open_is_clean = false;
  /// Leading pictures are needed by no others than such; else only those that nothing needs.
  bool leading_stand_alone = false;
};

/// One packet of a segment, in decoding order.
struct PlannedPacket {
  std::uint32_t packet = 0;       ///< number in the source
  std::int64_t pts = 0, dts = 0;  ///< in the source's ticks, from the segment's first frame on
  std::int64_t duration = 0;
  bool hidden = false;  ///< decoded for others, not shown by this segment
};

struct PlannedSegment {
  std::vector<PlannedPacket> packets;       ///< ascending by number
  std::int64_t start_pts = 0, end_pts = 0;  ///< in the source's time, [start, end)
  std::int64_t first_frame = 0, frames = 0;
};

/// Plans segments one at a time, so that a long video's tables are not all held at once.
///
/// A cut at a closed group's keyframe parts the packets. A cut at an open group's keyframe K, whose
/// leading pictures L (behind it in the stream, shown before it) need K and what came before: the
/// earlier segment gets K and L behind its own packets, with K hidden, and the later one K without
/// L. So every frame is shown by exactly one segment, decoded from the same packets.
class SegmentPlanner {
 public:
  /// `index` must outlive it and not be `by_count`.
  SegmentPlanner(const PacketIndex& index, const SegmentPlanOptions& options);

  [[nodiscard]] std::uint32_t count() const noexcept {
    return static_cast<std::uint32_t>(cuts_.size());
  }
  /// Plan segment `number` < count().
  [[nodiscard]] PlannedSegment plan(std::uint32_t number) const;
  /// Whether the source hides a frame between shown ones (edit list), which no segment could.
  [[nodiscard]] bool hides_in_between(const PlannedSegment& segment) const;

 private:
  struct Cut {
    std::uint32_t key = 0;   ///< first packet
    std::uint32_t body = 0;  ///< (key, body) are leading pictures of the segment before
  };
  [[nodiscard]] bool shown(std::uint32_t packet) const;
  void find_cuts();
  void take(PlannedSegment& segment, std::uint32_t packet, bool hidden) const;
  void settle_times(PlannedSegment& segment) const;

  const PacketIndex& index_;
  SegmentPlanOptions options_;
  std::vector<Cut> cuts_;  ///< the first begins the first segment
  std::uint32_t end_ = 0;  ///< packets from here on are not needed
};

}  // namespace shardreel::tools
