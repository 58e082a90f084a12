#pragma once
// What a scan over a video's packets leaves: their times and roles, the frames in display order,
// and what decoding each frame takes. Pure: no FFmpeg calls, no bytes of packets.

#include <cstdint>
#include <span>
#include <vector>

#include "loader/demux/packet_traits.h"

namespace shardreel {

/// No codec holds more frames back to show them in order (H.264, HEVC).
inline constexpr int kMaxReorder = 16;

/// A frame time that is not known.
inline constexpr std::int64_t kNoTime = INT64_MIN;

struct PacketEntry {
  std::int64_t pts = kNoTime, dts = kNoTime;
  std::uint32_t size = 0;  ///< bytes
  bool discard = false;    ///< decoded when needed but never shown (edit list)
  bool key = false;        ///< the container calls it a keyframe
  PacketTraits traits;
};

/// What a stream's packets do not say one by one.
struct StreamOrder {
  /// The decoder shows nothing that comes before the first place where decoding can start (FFmpeg's
  /// for H.264).
  bool withheld_until_start = false;
  /// The packets' times contradict the order in which their bits say that they are shown.
  bool times_mislead = false;
};

/// Whether pictures may have another size from this packet on.
[[nodiscard]] inline bool may_change_size(const PacketEntry& packet) noexcept {
  return packet.key || packet.traits.start != RandomAccessPoint::kNone ||
         packet.traits.parameter_sets;
}

/// Immutable after construction; safe to share between threads.
class PacketIndex {
 public:
  /// `in_decoding_order`: every packet of the stream, in the container's order.
  PacketIndex(std::vector<PacketEntry> in_decoding_order, const StreamOrder& order);

  [[nodiscard]] std::span<const PacketEntry> packets() const noexcept { return packets_; }
  /// Frames are only known by counting: times are missing, misleading, not unique or not ordered,
  /// or packets are not frames. Then everything is decoded from the first packet on.
  [[nodiscard]] bool by_count() const noexcept { return by_count_; }
  /// All frames have times, and these do not tell their order.
  [[nodiscard]] bool times_unused() const noexcept { return times_unused_; }
  [[nodiscard]] std::int64_t frame_count() const noexcept { return frame_count_; }
  /// The packet of a frame in display order; only without `by_count`.
  [[nodiscard]] std::uint32_t packet_of(std::int64_t frame) const {
    return display_[static_cast<std::size_t>(frame)];
  }
  /// Ascending times of the shown frames, in order their k-th is that of frame k; those of decoding
  /// where no others are there; empty when they are not known.
  [[nodiscard]] const std::vector<std::int64_t>& frame_times() const noexcept { return times_; }
  /// The packet that decoding has to start at for this packet's frame.
  [[nodiscard]] std::uint32_t start_of(std::uint32_t packet) const;
  /// Packets that decoding may start at.
  [[nodiscard]] std::size_t start_count() const noexcept { return starts_.size(); }
  /// Frames that a decoder must hold back to show them in order.
  [[nodiscard]] int reorder_frames() const noexcept { return reorder_frames_; }
  /// Whether some start lacks parameter sets that others carry: then decoder contexts must not be
  /// carried over between units.
  [[nodiscard]] bool parameters_change() const noexcept { return parameters_change_; }
  [[nodiscard]] std::uint64_t memory_bytes() const noexcept;

 private:
  void hide_undecodable_leading();
  void hide_before_start();
  void settle_droppable();
  void pair_fields();
  void find_starts();
  void order_frames(bool times_mislead);
  bool times_are_ordered();
  void take_decoding_times();

  std::vector<PacketEntry> packets_;
  std::vector<std::uint32_t> starts_;   ///< ascending
  std::vector<std::uint32_t> display_;  ///< packet of each frame
  std::vector<std::int64_t> times_;
  std::int64_t frame_count_ = 0;
  int reorder_frames_ = 0;
  bool by_count_ = false;
  bool times_unused_ = false;
  bool parameters_change_ = false;
};

}  // namespace shardreel
