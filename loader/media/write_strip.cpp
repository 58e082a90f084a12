#include <algorithm>
#include <cstring>

#include "loader/media/strip_kernels.h"
#include "loader/media/strip_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "loader/media/write_strip.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.
#include "loader/media/strip_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shardreel {
namespace HWY_NAMESPACE {
namespace {

/// Transposed columns of components with one filter, and that filter; locals, so that nobody thinks
/// that bytes that are stored change them.
template <std::size_t kCount>
struct Along {
  const std::uint16_t* from[kCount];
  std::int32_t origin;
  const std::int32_t* first;
  const std::uint32_t* weights;
  std::size_t taps;
  /// What rounding all products down takes on average, and half the range: sums are signed.
  Words bias;

  Along(const StripJob& job, std::size_t input)
      : origin(job.origin[input]),
        first(job.filter[input].first),
        weights(job.filter[input].weights),
        taps(static_cast<std::size_t>(job.filter[input].count)),
        bias(hn::Set(kWords, static_cast<std::uint16_t>(0x8000 + job.filter[input].count / 2))) {
    for (std::size_t c = 0; c < kCount; ++c) from[c] = job.from[input + c];
  }
};

/// Output column `x` of a strip. The results are around zero, so that they fit signed words.
/// `kTaps`: how many there are; 0: as many as `along` says.
template <std::size_t kTaps, std::size_t kCount>
HWY_INLINE void filter_column_of(const Along<kCount>& along, std::size_t x,
                                 Signed (*HWY_RESTRICT to)[kColumnVectors]) {
  const std::size_t taps = kTaps == 0 ? along.taps : kTaps;
  const std::uint32_t* HWY_RESTRICT weights = along.weights + x * taps;
  const auto first = static_cast<std::size_t>(along.first[x] - along.origin) * kStripRows;
  Words sum[kCount][kColumnVectors];
  for (std::size_t c = 0; c < kCount; ++c) {
    for (std::size_t v = 0; v < kColumnVectors; ++v) sum[c][v] = along.bias;
  }
  for (std::size_t t = 0; t < taps; ++t) {
    const Words weight = spread(weights[t]);
    for (std::size_t c = 0; c < kCount; ++c) {
      const std::uint16_t* HWY_RESTRICT at = along.from[c] + first + t * kStripRows;
      for (std::size_t v = 0; v < kColumnVectors; ++v) {
        const Words samples = hn::Load(kWords, at + v * kLanes);
        sum[c][v] = hn::Add(sum[c][v], hn::MulHigh(samples, weight));
      }
    }
  }
  for (std::size_t c = 0; c < kCount; ++c) {
    for (std::size_t v = 0; v < kColumnVectors; ++v) {
      to[c][v] = hn::BitCast(kSigned, sum[c][v]);
    }
  }
}

template <std::size_t kCount>
HWY_INLINE void filter_column(const Along<kCount>& along, std::size_t x,
                              Signed (*HWY_RESTRICT to)[kColumnVectors]) {
  // What small pictures have, where this is most of the work.
  switch (along.taps) {
    case 2: return filter_column_of<2>(along, x, to);
    case 3: return filter_column_of<3>(along, x, to);
    case 4: return filter_column_of<4>(along, x, to);
    default: return filter_column_of<0>(along, x, to);
  }
}

/// Clamp to bytes, eight of `a` and eight of `b` in turn. Highway 1.0.3 has no such operation.
HWY_INLINE Bytes pack_blocks(Signed a, Signed b) {
#if HWY_TARGET == HWY_AVX3
  return Bytes{_mm512_packus_epi16(a.raw, b.raw)};
#elif HWY_TARGET == HWY_AVX2
  return Bytes{_mm256_packus_epi16(a.raw, b.raw)};
#else
  const hn::Half<decltype(kBytes)> half;
  return hn::Combine(kBytes, hn::DemoteTo(half, b), hn::DemoteTo(half, a));
#endif
}

/// Sums in 1/32 to columns `at` and `at + 1` of bytes in the work memory: side by side, eight rows
/// of each in turn, for a slot that lies upright; else one after the other.
template <bool kSideways>
HWY_INLINE void store_columns(const Signed* HWY_RESTRICT a, const Signed* HWY_RESTRICT b,
                              std::size_t at, std::uint8_t* HWY_RESTRICT work) {
  std::uint8_t* to = work + at * kStripRows;
  for (std::size_t v = 0; v < kColumnVectors; ++v) {
    const Signed first = hn::ShiftRight<5>(a[v]), second = hn::ShiftRight<5>(b[v]);
    if constexpr (kSideways) {
      const hn::Rebind<std::uint8_t, decltype(kSigned)> narrow;
      hn::Store(hn::DemoteTo(narrow, first), narrow, to + v * kLanes);
      hn::Store(hn::DemoteTo(narrow, second), narrow, to + kStripRows + v * kLanes);
    } else {
      hn::Store(pack_blocks(first, second), kBytes, to + v * kByteLanes);
    }
  }
}

/// Whether red is without the second input, blue without the third, and the first counts the same
/// for all: what luma and chroma to red, green and blue is.
bool of_luma_and_chroma(const IntegerMap& map) {
  const auto& factor = map.factor;
  return map.inputs == 3 && map.outputs == 3 && factor[0][1] == 0 && factor[2][2] == 0 &&
         factor[0][0] == factor[1][0] && factor[0][0] == factor[2][0];
}

/// Filter and map columns [start, end) into the work memory. `kLumaChroma`: of_luma_and_chroma,
/// whose five products give the same as nine.
template <int kInputs, int kOutputs, bool kLumaChroma, bool kSideways>
void map_columns(const StripJob& job, std::size_t start, std::size_t end) {
  Signed factor[3][3], offset[3];
  for (std::size_t o = 0; o < kOutputs; ++o) {
    offset[o] = hn::Set(kSigned, job.map.offset[o]);
    for (std::size_t i = 0; i < kInputs; ++i) {
      factor[o][i] = hn::Set(kSigned, job.map.factor[o][i]);
    }
  }
  const Along<1> one(job, 0);
  const Along<kInputs == 3 ? 2 : 1> others(job, kInputs == 3 ? 1 : 0);
  std::uint8_t* const work = job.work;
  for (std::size_t first = start; first < end; first += 2) {
    Signed out[2 * kOutputs][kColumnVectors];
    for (std::size_t second = 0; second < 2; ++second) {
      // An odd last column is done twice.
      const std::size_t x = std::min(first + second, end - 1);
      Signed in[kInputs][kColumnVectors];
      filter_column(one, x, in);
      if constexpr (kInputs == 3) filter_column(others, x, in + 1);
      for (std::size_t v = 0; v < kColumnVectors; ++v) {
        const Signed luma = hn::MulHigh(in[0][v], factor[0][0]);
        for (std::size_t o = 0; o < kOutputs; ++o) {
          const Signed of_first = kLumaChroma ? luma : hn::MulHigh(in[0][v], factor[o][0]);
          Signed& sum = out[second * kOutputs + o][v];
          sum = hn::Add(offset[o], of_first);
          for (std::size_t i = 1; i < kInputs; ++i) {
            if (kLumaChroma && o != 1 && o == 2 * i - 2) continue;
            sum = hn::Add(sum, hn::MulHigh(in[i][v], factor[o][i]));
          }
        }
      }
    }
    for (std::size_t o = 0; o < kOutputs; ++o) {
      store_columns<kSideways>(out[2 * o], out[2 * o + 1], (first - start) * kOutputs + 2 * o,
                               work);
    }
  }
}

template <bool kSideways>
void map_columns(const StripJob& job, std::size_t start, std::size_t end) {
  if (of_luma_and_chroma(job.map)) return map_columns<3, 3, true, kSideways>(job, start, end);
  if (job.map.outputs == 3) {
    job.map.inputs == 3 ? map_columns<3, 3, false, kSideways>(job, start, end)
                        : map_columns<1, 3, false, kSideways>(job, start, end);
  } else {
    job.map.inputs == 3 ? map_columns<3, 1, false, kSideways>(job, start, end)
                        : map_columns<1, 1, false, kSideways>(job, start, end);
  }
}

/// A vector of bytes side by side for each row of the strip.
HWY_INLINE void lay_bytes(const std::uint8_t* HWY_RESTRICT from, std::uint8_t* HWY_RESTRICT to,
                          std::size_t stride) {
  for (std::size_t row = 0; row < kStripRows; row += 8, from += 16) {
    Bytes rows[8];
    for (std::size_t i = 0; i < 8; ++i) {
      rows[i] = gather_blocks(kBytes, from + i * 2 * kStripRows, 16 * kStripRows);
    }
    transpose_blocks<4>(kBytes, rows);
    for (std::size_t i = 0; i < 8; ++i) hn::StoreU(rows[i], kBytes, to + (row + i) * stride);
  }
}

/// Transpose the work memory, whose rows are the slot's columns byte by byte, into the slot: that
/// interleaves red, green and blue, too.
void lay_upright(const StripJob& job, std::size_t start, std::size_t end) {
  const auto outputs = static_cast<std::size_t>(job.map.outputs);
  const std::size_t row_bytes = (end - start) * outputs;
  const std::uint8_t* from = job.work;
  std::uint8_t* to = job.to + start * outputs;
  for (std::size_t at = 0; at < row_bytes; at += kByteLanes, to += kByteLanes) {
    const std::size_t bytes = std::min(kByteLanes, row_bytes - at);
    if (job.rows == kStripRows && bytes == kByteLanes) {
      lay_bytes(from, to, job.stride);
    } else {
      std::uint8_t whole[kByteLanes * kStripRows];
      lay_bytes(from, whole, kByteLanes);
      for (std::size_t row = 0; row < job.rows; ++row) {
        std::memcpy(to + row * job.stride, whole + row * kByteLanes, bytes);
      }
    }
    from += kByteLanes * kStripRows;
  }
}

/// The strip's columns are rows of the slot already; only components have to be interleaved.
void lay_sideways(const StripJob& job, std::size_t start, std::size_t end) {
  const auto outputs = static_cast<std::size_t>(job.map.outputs);
  const hn::CappedTag<std::uint8_t, kStripRows> tag;
  constexpr std::size_t kStep = hn::MaxLanes(decltype(tag)());
  const std::uint8_t* from = job.work;
  for (std::size_t x = start; x < end; ++x, from += outputs * kStripRows) {
    std::uint8_t interleaved[3 * kStripRows];
    if (outputs == 3) {
      for (std::size_t i = 0; i < kStripRows; i += kStep) {
        hn::StoreInterleaved3(hn::LoadU(tag, from + i), hn::LoadU(tag, from + kStripRows + i),
                              hn::LoadU(tag, from + 2 * kStripRows + i), tag, interleaved + 3 * i);
      }
    }
    std::memcpy(job.to + x * job.stride, outputs == 3 ? interleaved : from, job.rows * outputs);
  }
}

void write_strip(const StripJob& job) {
  for (std::size_t start = 0; start < job.width; start += kTileColumns) {
    const std::size_t end = std::min(start + kTileColumns, job.width);
    if (job.sideways) {
      map_columns<true>(job, start, end);
      lay_sideways(job, start, end);
    } else {
      map_columns<false>(job, start, end);
      lay_upright(job, start, end);
    }
  }
}

const char* kernel_target() { return hwy::TargetName(HWY_TARGET); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace shardreel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shardreel {

namespace {
HWY_EXPORT(write_strip);
HWY_EXPORT(kernel_target);
}  // namespace

void write_strip(const StripJob& job) { HWY_DYNAMIC_DISPATCH(write_strip)(job); }
const char* kernel_target() { return HWY_DYNAMIC_DISPATCH(kernel_target)(); }

}  // namespace shardreel
#endif  // HWY_ONCE
