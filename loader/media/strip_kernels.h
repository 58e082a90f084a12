#pragma once
// The inner loops of the strip converter, chosen at run time for the machine's vector unit.
// Integers only: every instruction set gives the same bytes.

#include <array>
#include <cstddef>
#include <cstdint>

#include "loader/media/color_matrix.h"

namespace shardreel {

/// Output rows that are worked on at a time: their filtered columns stay in the nearest caches, and
/// one column of them fills the widest vector.
inline constexpr std::size_t kStripRows = 32;
/// Columns that are filtered at a time, whatever the vector; a source must be at least as wide.
inline constexpr std::size_t kGranule = 64;
/// Columns whose rows are collected before they are transposed: few enough for the first cache.
inline constexpr std::size_t kChunk = 4 * kGranule;

/// Output columns that are worked on at a time before they are laid in the slot: so few that they
/// stay in the first cache.
inline constexpr std::size_t kTileColumns = 64;

/// Borrowed taps of one output after the other, as in SideFilter.
struct Taps {
  const std::int32_t* first = nullptr;
  const std::uint32_t* weights = nullptr;  ///< doubled_weights
  int count = 0;
};

/// A strip's rows from the rows of one component.
struct ColumnsJob {
  const std::uint8_t* source = nullptr;  ///< first column of row `origin`
  std::int32_t origin = 0;
  std::ptrdiff_t stride = 0;  ///< bytes
  int sample_bytes = 1, depth = 8;
  std::size_t columns = 0;  ///< at least kGranule
  Taps filter;              ///< of the strip's first row
  /// How far below the most that 16 bits hold the results stay: what the filter along the rows adds
  /// to its sums.
  std::uint16_t room = 0;
  std::size_t rows = 0;           ///< at most kStripRows
  std::uint16_t* work = nullptr;  ///< kChunk * kStripRows samples, aligned to 64 bytes
  std::uint16_t* to = nullptr;    ///< [columns][kStripRows] 16-bit samples, aligned to 64 bytes
};

/// Filter down the columns and transpose.
void filter_columns(const ColumnsJob& job);

/// An affine map for samples with 16 significant bits. Sums are in 1/32 of an output step.
struct IntegerMap {
  int inputs = 3, outputs = 3;
  std::array<std::array<std::int16_t, 3>, 3> factor{};
  std::array<std::int16_t, 3> offset{};
};

/// `depth`: of each input of `map`, whose code values are now in the upper bits of 16.
[[nodiscard]] IntegerMap integer_map(const AffineMap& map, const std::array<int, 3>& depth);

/// A strip of the slot from transposed columns.
struct StripJob {
  IntegerMap map;
  std::array<const std::uint16_t*, 3> from{};  ///< [columns][kStripRows], one for each input
  std::array<std::int32_t, 3> origin{};        ///< the column that lies there
  std::array<Taps, 3> filter{};  ///< the second and third component have one filter and origin
  std::size_t width = 0;         ///< output samples along the filtered side
  std::size_t rows = 0;          ///< of the strip
  std::uint8_t* work = nullptr;  ///< kTileBytes, aligned to 64 bytes
  std::uint8_t* to = nullptr;    ///< where the strip's first pixel goes
  std::size_t stride = 0;        ///< bytes between rows of the slot
  bool sideways = false;         ///< the strip's rows become columns of the slot
};

/// Filter along the rows, map to bytes, lay them in the slot.
void write_strip(const StripJob& job);

inline constexpr std::size_t kTileBytes = kTileColumns * 3 * kStripRows;

/// Return Highway's name of the instruction set that runs: EMU128 (portable), SSE4, AVX2, AVX3,
/// NEON.
[[nodiscard]] const char* kernel_target();

}  // namespace shardreel
