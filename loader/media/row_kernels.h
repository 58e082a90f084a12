#pragma once
// Rows of 16-bit samples to rows of bytes: the colour map, rounding, clamping and interleaving of a
// slot. Integers only, so every instruction set gives the same bytes.

#include <array>
#include <cstddef>
#include <cstdint>

#include "loader/media/color_matrix.h"

namespace shardreel {

/// An affine map for samples with 16 significant bits. Sums are in 1/32 of an output step.
struct IntegerMap {
  int inputs = 3, outputs = 3;
  std::array<std::array<std::int16_t, 3>, 3> factor{};
  std::array<std::int16_t, 3> offset{};
};

/// `depth`: of each input of `map`, whose code values are now in the upper bits of 16.
[[nodiscard]] IntegerMap integer_map(const AffineMap& map, const std::array<int, 3>& depth);

using SampleRows = std::array<const std::uint16_t*, 3>;

/// Write `width` pixels of `map.outputs` (1 or 3) interleaved bytes from `map.inputs` (1 or 3) rows
/// of samples.
using RowKernel = void (*)(const SampleRows& rows, std::size_t width, const IntegerMap& map,
                           std::uint8_t* to);

/// Return the best kernel of this machine for the map's numbers of inputs and outputs.
[[nodiscard]] RowKernel row_kernel(const IntegerMap& map);
/// The same for any machine; for tests.
[[nodiscard]] RowKernel portable_row_kernel(const IntegerMap& map);

}  // namespace shardreel
