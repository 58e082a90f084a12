#pragma once
// From the components of a frame to a part of a slot in one go: crop, scale, colour, rotation and
// flip, strip by strip.

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>

#include "loader/media/frame_regions.h"
#include "loader/media/plane.h"
#include "loader/media/side_filter.h"
#include "loader/media/strip_kernels.h"

namespace shardreel {

/// A component and the part of it that is scaled.
struct StripInput {
  SourcePlane plane;
  Region region;
};

/// Where the first byte goes, and bytes between rows.
struct StripTarget {
  std::uint8_t* first = nullptr;
  std::size_t stride = 0;
};

/// Scales with the filter of docs/pixels.md, maps to 8 bits, and lays the picture out. Works on
/// kStripRows output rows at a time: down the columns first, then, transposed, along the rows with
/// the same arithmetic. Keeps the filters of the last geometries. Not thread-safe.
class StripConverter {
 public:
  static constexpr std::size_t kMaxFilters = 32;  ///< four a geometry

  /// Whether the filters from this region to width x height are in reach.
  [[nodiscard]] static bool takes(const Region& region, std::uint32_t width, std::uint32_t height);

  /// Scale every input (the second and third are of one size and region) to width x height, map and
  /// write them to `target`, which has room for the turned picture. `map` is for samples of 16
  /// significant bits, as `integer_map` makes it.
  void convert(std::span<const StripInput> inputs, std::uint32_t width, std::uint32_t height,
               const Turn& turn, const IntegerMap& map, StripTarget target);

  [[nodiscard]] std::uint64_t scratch_bytes() const noexcept;
  /// An upper bound of it for components of up to width x height and sides up to `largest`.
  static std::uint64_t scratch_bound(std::uint64_t width, std::uint64_t height,
                                     std::uint64_t largest);

 private:
  /// An input with its filters, the columns they use, and memory for a strip of these.
  struct Part {
    const StripInput* input = nullptr;
    const SideFilter* down = nullptr;
    const SideFilter* along = nullptr;
    std::uint32_t first_column = 0;
    std::size_t columns = 0;
    std::uint16_t* filtered = nullptr;
  };
  const SideFilter& filter_for(const FilterSpan& span);
  Part part_for(const StripInput& input, std::size_t index, std::uint32_t width,
                std::uint32_t height, const Turn& turn);
  void filter_strip(const Part& part, std::size_t first_row, std::size_t rows);

  std::list<SideFilter> filters_;  // last used first
  std::array<AlignedBuffer, 3> filtered_;
  AlignedBuffer work_;    // of the kernels
  AlignedBuffer laid_;    // a strip of the slot
  AlignedBuffer padded_;  // rows of a component that is narrower than a granule
};

}  // namespace shardreel
