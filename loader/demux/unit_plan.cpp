#include "loader/demux/unit_plan.h"

#include <algorithm>

namespace shardreel {
namespace {

// Starting a decoder anew costs about as much as decoding a few packets: a smaller gap is decoded.
constexpr std::uint64_t kMinGapPackets = 4;

/// Whether decoding `again` packets twice is little beside the unit.
bool cheap(const UnitSpan& unit, std::uint64_t again) {
  return again <= (unit.end - unit.begin) / 4;
}

}  // namespace

std::vector<UnitSpan> plan_unit_spans(std::span<const ClipSpan> clips, std::uint32_t unit_clips,
                                      UnitLength wanted) {
  std::vector<UnitSpan> units;
  const std::size_t most = std::max<std::uint32_t>(unit_clips, 1);
  for (std::size_t first = 0; first < clips.size(); first = units.back().end_clip) {
    UnitSpan unit{first, first, clips[first].begin, clips[first].end};
    UnitSpan best;  // so far
    std::uint64_t best_again = 0;
    for (bool stop = false; !stop;) {
      unit.begin = std::min(unit.begin, clips[unit.end_clip].begin);
      unit.end = std::max(unit.end, clips[unit.end_clip].end);
      ++unit.end_clip;
      const std::size_t length = unit.end_clip - first;
      const ClipSpan* next = unit.end_clip < clips.size() ? &clips[unit.end_clip] : nullptr;
      stop = next == nullptr || next->begin >= unit.end + kMinGapPackets;
      const std::uint64_t again = stop || next->begin >= unit.end ? 0 : unit.end - next->begin;
      const bool better =
          length <= most ? best.end_clip == 0 || again <= best_again : stop || cheap(unit, again);
      if (better) {
        best = unit;
        best_again = again;
      }
      if (length >= most && cheap(best, best_again)) stop = true;
      if (wanted == UnitLength::kShort && best.end_clip == unit.end_clip &&
          best_again * 8 <= unit.end - unit.begin) {
        stop = true;
      }
    }
    units.push_back(best);
  }
  return units;
}

}  // namespace shardreel
