#include "loader/demux/packet_index.h"

#include <algorithm>
#include <utility>

namespace shardreel {

PacketIndex::PacketIndex(std::vector<PacketEntry> in_decoding_order, const StreamOrder& order)
    : packets_(std::move(in_decoding_order)) {
  hide_undecodable_leading();
  if (order.withheld_until_start) hide_before_start();
  settle_droppable();
  pair_fields();
  find_starts();
  order_frames(order.times_mislead);
}

// RASL pictures before or behind the first keyframe (or behind the end of a sequence) refer to
// pictures that are not there; decoders do not show them (HEVC 8.1.3).
void PacketIndex::hide_undecodable_leading() {
  bool fresh = true, hide = false;
  for (PacketEntry& packet : packets_) {
    if (packet.traits.start != RandomAccessPoint::kNone) hide = std::exchange(fresh, false);
    if (packet.traits.skipped_leading && (hide || fresh)) packet.traits.shown = 0;
    if (packet.traits.sequence_end) fresh = true;
  }
}

void PacketIndex::hide_before_start() {
  const auto first = std::find_if(packets_.begin(), packets_.end(), [](const PacketEntry& packet) {
    return packet.traits.start != RandomAccessPoint::kNone;
  });
  if (first == packets_.end()) return;
  for (auto packet = packets_.begin(); packet != first; ++packet) packet->traits.shown = 0;
  if (first->traits.start == RandomAccessPoint::kClosed || first->pts == kNoTime) return;
  for (auto packet = first; packet != packets_.end(); ++packet) {
    if (packet != first && packet->traits.start != RandomAccessPoint::kNone) return;
    if (packet->pts != kNoTime && packet->pts < first->pts) packet->traits.shown = 0;
  }
}

// A sub-layer non-reference picture may still be needed by a higher layer: only those of the
// highest one are free to go.
void PacketIndex::settle_droppable() {
  std::uint8_t highest = 0;
  for (const PacketEntry& packet : packets_)
    highest = std::max(highest, packet.traits.temporal_layer);
  for (PacketEntry& packet : packets_) {
    if (packet.traits.temporal_layer < highest) packet.traits.droppable = false;
  }
}

// The second field of a frame shows nothing of its own.
void PacketIndex::pair_fields() {
  const PacketEntry* first = nullptr;
  for (PacketEntry& packet : packets_) {
    if (!packet.traits.field) {
      first = nullptr;
    } else {
      by_count_ = true;
      if (first != nullptr && first->traits.bottom != packet.traits.bottom) {
        packet.traits.shown = 0;
        first = nullptr;
      } else {
        first = &packet;
      }
    }
  }
}

void PacketIndex::find_starts() {
  const auto can_start = [](const PacketEntry& packet) {
    return packet.traits.start != RandomAccessPoint::kNone;
  };
  // Parameter sets inside the stream replace those of the container for all that follows, so a
  // keyframe without any is no place to start at in such a stream.
  bool carried = false;
  for (const PacketEntry& packet : packets_) carried |= packet.traits.parameter_sets;
  for (std::uint32_t i = 0; i < packets_.size(); ++i) {
    PacketEntry& packet = packets_[i];
    if (carried && !packet.traits.parameter_sets && (can_start(packet) || i == 0)) {
      parameters_change_ = true;
      packet.traits.start = RandomAccessPoint::kNone;
    }
    if (can_start(packet)) starts_.push_back(i);
  }
  if (!parameters_change_) return;
  for (PacketEntry& packet : packets_) {
    if (packet.traits.parameter_sets) packet.traits.droppable = false;
  }
}

bool PacketIndex::times_are_ordered() {
  std::vector<std::int64_t> recent;  // of the packets that the next one might be shown before
  std::int64_t latest = kNoTime, latest_at_start = kNoTime;
  int ahead = 0;
  for (const PacketEntry& packet : packets_) {
    if (packet.traits.shown == 0) continue;
    if (packet.traits.shown > 1 || packet.traits.packed || packet.pts == kNoTime) return false;
    if (packet.traits.start == RandomAccessPoint::kClosed) latest_at_start = latest;
    // Behind a clean start nothing is shown before what preceded it; else the clock was reset.
    if (latest_at_start != kNoTime && packet.pts <= latest_at_start) return false;
    if (packet.traits.start == RandomAccessPoint::kOpen && packet.pts < latest) return false;
    int later = 0;
    for (const std::int64_t other : recent) later += other > packet.pts;
    if (later > kMaxReorder) return false;
    ahead = std::max(ahead, later);
    if (recent.size() == 2 * kMaxReorder) recent.erase(recent.begin());
    recent.push_back(packet.pts);
    latest = std::max(latest, packet.pts);
  }
  reorder_frames_ = ahead;
  return true;
}

// AVI stores no other times than these. A frame is decoded as long before it is shown as every
// other one, so they are as far apart.
void PacketIndex::take_decoding_times() {
  std::int64_t last = kNoTime;
  for (const PacketEntry& packet : packets_) {
    if (packet.traits.shown == 0 || packet.discard) continue;
    if (packet.traits.shown > 1 || packet.dts == kNoTime || packet.dts <= last) {
      times_.clear();
      return;
    }
    last = packet.dts;
    times_.push_back(last);
  }
}

void PacketIndex::order_frames(bool times_mislead) {
  const bool ordered = times_are_ordered();
  bool timed = true;
  for (std::uint32_t i = 0; i < packets_.size(); ++i) {
    const PacketEntry& packet = packets_[i];
    if (packet.traits.shown == 0 || packet.discard) continue;
    frame_count_ += packet.traits.shown;
    timed = timed && packet.traits.shown == 1 && packet.pts != kNoTime;
    display_.push_back(i);
  }
  std::sort(display_.begin(), display_.end(), [this](std::uint32_t a, std::uint32_t b) {
    return std::pair(packets_[a].pts, a) < std::pair(packets_[b].pts, b);
  });
  if (timed) {
    times_.reserve(display_.size());
    for (const std::uint32_t i : display_) times_.push_back(packets_[i].pts);
  }
  const bool unique = std::adjacent_find(times_.begin(), times_.end()) == times_.end();
  times_unused_ = timed && (times_mislead || !ordered || !unique);
  by_count_ = by_count_ || !timed || times_unused_;
  if (!unique) times_.clear();
  if (!timed) take_decoding_times();
  if (by_count_) display_ = {};
}

std::uint32_t PacketIndex::start_of(std::uint32_t packet) const {
  if (by_count_) return 0;
  auto at = std::upper_bound(starts_.begin(), starts_.end(), packet);
  while (at != starts_.begin()) {
    --at;
    const PacketEntry& start = packets_[*at];
    // A leading picture (shown before the keyframe that precedes it) may need the group before.
    if (start.traits.start == RandomAccessPoint::kClosed || packets_[packet].pts >= start.pts)
      return *at;
  }
  return 0;
}

std::uint64_t PacketIndex::memory_bytes() const noexcept {
  return packets_.capacity() * sizeof(PacketEntry) +
         (starts_.capacity() + display_.capacity()) * sizeof(std::uint32_t) +
         times_.capacity() * sizeof(std::int64_t);
}

}  // namespace shardreel
