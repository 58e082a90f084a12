#pragma once
// How clips are spread over units: pure arithmetic on packet numbers.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace shardreel {

/// The packets that one clip takes, as [begin, end) in decoding order; `begin` is a place that
/// decoding can start at.
struct ClipSpan {
  std::uint64_t begin = 0, end = 0;
};

/// A run of whole clips that are decoded together.
struct UnitSpan {
  std::size_t first_clip = 0, end_clip = 0;  ///< [first, end)
  std::uint64_t begin = 0, end = 0;          ///< packets, [begin, end)
};

enum class UnitLength {
  kLong,   ///< as many clips as fit: nothing is decoded twice if that can be
  kShort,  ///< as few as decode hardly anything twice: units that are to be shuffled
};

/// Cut a video's clips (in their order) into units. A long unit has at most `unit_clips` clips and
/// ends where the fewest packets are decoded twice (the next unit starts at its own keyframe), the
/// later of equal places. If even that would be more than a quarter of the unit, it grows to the
/// next place where it is not: a stream without usable keyframes becomes one unit. A gap that
/// decoding can skip always ends a unit. A short unit ends at the first place where less than an
/// eighth of it is decoded twice; from `unit_clips` on like a long one.
std::vector<UnitSpan> plan_unit_spans(std::span<const ClipSpan> clips, std::uint32_t unit_clips,
                                      UnitLength length = UnitLength::kLong);

}  // namespace shardreel
