#include "tools/pack/segment_plan.h"

#include <algorithm>

namespace shardreel::tools {

SegmentPlanner::SegmentPlanner(const PacketIndex& index, const SegmentPlanOptions& options)
    : index_(index), options_(options) {
  find_cuts();
}

bool SegmentPlanner::shown(std::uint32_t packet) const {
  const PacketEntry& entry = index_.packets()[packet];
  return entry.traits.shown > 0 && !entry.discard;
}

void SegmentPlanner::find_cuts() {
  const auto packets = index_.packets();
  const auto size = static_cast<std::uint32_t>(packets.size());
  // earliest[i]: the first time that is shown by packet i or one behind it.
  std::vector<std::int64_t> earliest(size + 1, INT64_MAX);
  for (std::uint32_t i = size; i-- > 0;) {
    earliest[i] = shown(i) ? std::min(earliest[i + 1], packets[i].pts) : earliest[i + 1];
    if (end_ == 0 && shown(i)) end_ = i + 1;
  }
  std::uint32_t first = 0;
  while (options_.hidden_are_broken && first < end_ && packets[first].traits.shown == 0) ++first;
  cuts_.push_back({first, first + 1});
  std::int64_t begun = earliest[0], latest = kNoTime;
  for (std::uint32_t key = 0; key < end_; ++key) {
    const PacketEntry& entry = packets[key];
    // `latest`: the last time that is shown by the packets before `key`.
    if (key > first && shown(key) && entry.traits.start != RandomAccessPoint::kNone &&
        latest != kNoTime && entry.pts - begun >= options_.ticks) {
      std::uint32_t body = key + 1;
      bool clean = earliest[key] > latest;
      if (entry.traits.start == RandomAccessPoint::kOpen) {
        bool parted = true;
        while (body < end_ && packets[body].pts < entry.pts) {
          parted = parted && packets[body].traits.start == RandomAccessPoint::kNone &&
                   (options_.leading_stand_alone || packets[body].traits.droppable);
          ++body;
        }
        clean = parted && options_.open_is_clean && (body == key + 1 || options_.can_hide) &&
                entry.pts > latest && earliest[body] > entry.pts;
      }
      if (clean) {
        cuts_.push_back({key, body});
        begun = entry.traits.start == RandomAccessPoint::kOpen ? entry.pts : earliest[key];
      }
    }
    if (shown(key)) latest = std::max(latest, entry.pts);
  }
}

void SegmentPlanner::take(PlannedSegment& segment, std::uint32_t packet, bool hidden) const {
  const PacketEntry& entry = index_.packets()[packet];
  if (options_.hidden_are_broken && entry.traits.shown == 0) return;
  segment.packets.push_back({packet, entry.pts, 0, 0, hidden || entry.discard});
}

PlannedSegment SegmentPlanner::plan(std::uint32_t number) const {
  PlannedSegment segment;
  const Cut& cut = cuts_[number];
  const bool last = number + 1 == cuts_.size();
  const std::uint32_t end = last ? end_ : cuts_[number + 1].key;
  take(segment, cut.key, false);
  for (std::uint32_t i = cut.body; i < end; ++i) take(segment, i, false);
  if (!last && cuts_[number + 1].body > end + 1) {
    take(segment, end, true);
    for (std::uint32_t i = end + 1; i < cuts_[number + 1].body; ++i) take(segment, i, false);
  }
  settle_times(segment);
  return segment;
}

void SegmentPlanner::settle_times(PlannedSegment& segment) const {
  const auto& times = index_.frame_times();
  segment.start_pts = INT64_MAX;
  std::int64_t last = INT64_MIN, before = 0;
  for (PlannedPacket& packet : segment.packets) {
    if (packet.pts == kNoTime) packet.pts = before;  // shows nothing: any time will do
    before = packet.pts;
    if (packet.hidden || !shown(packet.packet)) continue;
    segment.start_pts = std::min(segment.start_pts, packet.pts);
    last = std::max(last, packet.pts);
    ++segment.frames;
    const auto next = std::upper_bound(times.begin(), times.end(), packet.pts);
    packet.duration = next != times.end()          ? *next - packet.pts
                      : options_.last_duration > 0 ? options_.last_duration
                      : times.size() > 1           ? times.back() - times[times.size() - 2]
                                                   : 1;
    segment.end_pts = std::max(segment.end_pts, packet.pts + packet.duration);
  }
  segment.first_frame =
      std::lower_bound(times.begin(), times.end(), segment.start_pts) - times.begin();
  // A hidden packet behind the last frame must not make the edit list longer than the frames. No
  // one asks when it is shown.
  std::vector<std::int64_t> order;
  order.reserve(segment.packets.size());
  for (PlannedPacket& packet : segment.packets) {
    if (packet.hidden && packet.pts > last) packet.pts = segment.end_pts;
    packet.pts -= segment.start_pts;
    order.push_back(packet.pts);
  }
  // Decoding times are made anew, as containers know them only sometimes: frames are decoded at
  // the pace they are shown, as much earlier as their order asks for.
  std::sort(order.begin(), order.end());
  std::size_t delay = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto rank = static_cast<std::size_t>(
        std::upper_bound(order.begin(), order.end(), segment.packets[i].pts) - order.begin() - 1);
    delay = std::max(delay, i > rank ? i - rank : 0);
  }
  const std::int64_t step = order.size() > 1 ? std::max<std::int64_t>(1, order[1] - order[0]) : 1;
  std::int64_t previous = INT64_MIN;
  for (std::size_t i = 0; i < order.size(); ++i) {
    PlannedPacket& packet = segment.packets[i];
    packet.dts =
        i >= delay ? order[i - delay] : order[0] - static_cast<std::int64_t>(delay - i) * step;
    if (packet.dts <= previous) packet.dts = previous + 1;
    packet.pts = std::max(packet.pts, packet.dts);
    previous = packet.dts;
  }
}

bool SegmentPlanner::hides_in_between(const PlannedSegment& segment) const {
  const std::int64_t end = segment.end_pts - segment.start_pts;
  return std::any_of(segment.packets.begin(), segment.packets.end(), [&](const auto& packet) {
    return packet.hidden && packet.pts >= 0 && packet.pts < end;
  });
}

}  // namespace shardreel::tools
