#include "loader/media/strip_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

// What is compiled: the portable baseline, SSE4, AVX2, AVX-512 (x86) and NEON. SSSE3 and the
// second AVX-512 would only add compile time; vectors of unknown length do not fit the transposes.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV | HWY_SCALAR)
// Highway 1.0.3 gives up its portable target with g++ before 12.3 for a fault of some operation;
// the tests compare every target's bytes, and its other one, without blocks of 128 bits, does not
// fit.
#undef HWY_BROKEN_EMU128
#define HWY_BROKEN_EMU128 0
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "loader/media/strip_kernels.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace shardreel {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr hn::CappedTag<std::uint16_t, kStripRows> kWords{};
constexpr hn::CappedTag<std::int16_t, kStripRows> kSigned{};
constexpr hn::CappedTag<std::uint8_t, kGranule> kBytes{};
using Words = hn::Vec<decltype(kWords)>;
using Signed = hn::Vec<decltype(kSigned)>;
using Bytes = hn::Vec<decltype(kBytes)>;

constexpr std::size_t kLanes = hn::MaxLanes(decltype(kWords)());  // 8, 16 or 32 words
constexpr std::size_t kBlocks = kLanes / 8;                       // of 128 bits in a vector
constexpr std::size_t kColumnVectors = kStripRows / kLanes;       // hold one column of a strip
constexpr std::size_t kGranuleWords = kGranule * kStripRows;      // of a strip
constexpr std::size_t kColumnBlock = 8 * kStripRows;              // words; 8 columns of a strip

/// Store the vector's 128-bit blocks `step` words apart.
template <class D, class V>
HWY_INLINE void store_blocks(D d, V vector, std::uint16_t* to, std::size_t step) {
  if constexpr (hn::MaxLanes(D()) == 8) {
    hn::Store(vector, d, to);
  } else {
    const hn::Half<D> half;
    store_blocks(half, hn::LowerHalf(half, vector), to, step);
    store_blocks(half, hn::UpperHalf(half, vector), to + hn::MaxLanes(D()) / 16 * step, step);
  }
}

/// Where a row of a strip lies in a block of 8 columns, so that eight vectors in a row hold rows i,
/// 8 + i, ... side by side: transposing them gives whole vectors of a column.
constexpr std::size_t row_place(std::size_t row) {
  const std::size_t part = row / kLanes, block = row / 8 % kBlocks, i = row % 8;
  return ((part * 8 + i) * kBlocks + block) * 8;
}

/// Granules that are filtered together: as many as there are registers for their sums.
constexpr std::size_t kRun = kLanes / 8;

/// One row of `kCount` granules, `first` and those `kGranule` columns after each other but the
/// last, which is at `last`; each to its place in its granule's blocks. Products are rounded down;
/// `bias` puts back what that takes on average.
template <std::size_t kCount>
HWY_INLINE void filter_bytes(const std::uint8_t* HWY_RESTRICT first,
                             const std::uint8_t* HWY_RESTRICT last, std::ptrdiff_t stride,
                             const std::uint16_t* HWY_RESTRICT weights, int taps, Words bias,
                             std::uint16_t* HWY_RESTRICT to) {
  constexpr std::size_t kVectors = kGranule / (2 * kLanes);
  Words even[kCount * kVectors], odd[kCount * kVectors];
  for (std::size_t v = 0; v < kCount * kVectors; ++v) even[v] = odd[v] = bias;
  for (int t = 0; t < taps; ++t, first += stride, last += stride) {
    const Words weight = hn::Set(kWords, weights[t]);
    for (std::size_t g = 0; g < kCount; ++g) {
      const std::uint8_t* from = g + 1 < kCount ? first + g * kGranule : last;
      for (std::size_t v = 0; v < kVectors; ++v) {
        // A word holds two samples: the even one is shifted up, the odd one is up already. What
        // the even one adds to the odd one's sum is taken off at the end.
        const Words pair = hn::BitCast(kWords, hn::LoadU(kBytes, from + v * 2 * kLanes));
        Words& even_sum = even[g * kVectors + v];
        Words& odd_sum = odd[g * kVectors + v];
        even_sum = hn::SaturatedAdd(even_sum, hn::MulHigh(hn::ShiftLeft<8>(pair), weight));
        odd_sum = hn::SaturatedAdd(odd_sum, hn::MulHigh(pair, weight));
      }
    }
  }
  for (std::size_t v = 0; v < kCount * kVectors; ++v) {
    std::uint16_t* blocks = to + 2 * v * kBlocks * kColumnBlock;
    const Words above = hn::SaturatedSub(odd[v], hn::ShiftRight<8>(even[v]));
    store_blocks(kWords, even[v], blocks, 2 * kColumnBlock);
    store_blocks(kWords, above, blocks + kColumnBlock, 2 * kColumnBlock);
  }
}

/// The same for samples of `16 - shift` bits in words.
template <std::size_t kCount>
HWY_INLINE void filter_words(const std::uint8_t* HWY_RESTRICT first,
                             const std::uint8_t* HWY_RESTRICT last, std::ptrdiff_t stride,
                             int shift, const std::uint16_t* HWY_RESTRICT weights, int taps,
                             Words bias, std::uint16_t* HWY_RESTRICT to) {
  constexpr std::size_t kVectors = kGranule / kLanes;
  Words sum[kCount * kVectors];
  for (std::size_t v = 0; v < kCount * kVectors; ++v) sum[v] = bias;
  // A product, because shifting by a variable takes two instructions inside the processor.
  const Words up = hn::Set(kWords, static_cast<std::uint16_t>(1 << shift));
  for (int t = 0; t < taps; ++t, first += stride, last += stride) {
    const Words weight = hn::Set(kWords, weights[t]);
    for (std::size_t g = 0; g < kCount; ++g) {
      const std::uint8_t* from = g + 1 < kCount ? first + g * kGranule * 2 : last;
      for (std::size_t v = 0; v < kVectors; ++v) {
        // Rows need not be aligned to words.
        const Words raw = hn::BitCast(kWords, hn::LoadU(kBytes, from + v * 2 * kLanes));
        Words& one = sum[g * kVectors + v];
        one = hn::SaturatedAdd(one, hn::MulHigh(hn::Mul(raw, up), weight));
      }
    }
  }
  for (std::size_t v = 0; v < kCount * kVectors; ++v) {
    store_blocks(kWords, sum[v], to + v * kBlocks * kColumnBlock, kColumnBlock);
  }
}

/// Transpose a granule: blocks of 8 columns, as `row_place` lays them, to columns of the strip.
/// Of bytes, blocks hold the even and the odd columns of 16 in turn.
HWY_INLINE void transpose_granule(const std::uint16_t* HWY_RESTRICT from, bool bytes,
                                  std::uint16_t* HWY_RESTRICT to) {
  for (std::size_t block = 0; block < kGranule / 8; ++block) {
    const std::size_t column = bytes ? block / 2 * 16 + block % 2 : block * 8;
    const std::size_t step = bytes ? 2 : 1;
    for (std::size_t part = 0; part < kColumnVectors; ++part) {
      Words a[8], b[8];
      for (std::size_t i = 0; i < 8; ++i) a[i] = hn::Load(kWords, from + i * kLanes);
      from += 8 * kLanes;
      const auto shuffle = [](const Words* in, Words* out) HWY_ATTR {
        for (std::size_t i = 0; i < 4; ++i) {
          out[2 * i] = hn::InterleaveLower(kWords, in[i], in[i + 4]);
          out[2 * i + 1] = hn::InterleaveUpper(kWords, in[i], in[i + 4]);
        }
      };
      shuffle(a, b);
      shuffle(b, a);
      shuffle(a, b);
      for (std::size_t i = 0; i < 8; ++i) {
        hn::Store(b[i], kWords, to + (column + i * step) * kStripRows + part * kLanes);
      }
    }
  }
}

/// Taps whose weight is not zero; those at the end are left out.
HWY_INLINE int used_taps(const std::uint16_t* weights, int taps) {
  while (taps > 1 && weights[taps - 1] == 0) --taps;
  return taps;
}

void filter_columns(const ColumnsJob& job) {
  const auto sample_bytes = static_cast<std::size_t>(job.sample_bytes);
  const Words bias = hn::Set(kWords, static_cast<std::uint16_t>(job.filter.count / 2));
  for (std::size_t start = 0; start < job.columns; start += kChunk) {
    const std::size_t end = std::min(start + kChunk, job.columns);
    // The last granule ends with the columns: some are done twice, none beyond is read.
    std::size_t column[kChunk / kGranule] = {}, granules = 0;
    for (std::size_t x = start; x < end; x += kGranule) {
      column[granules++] = std::min(x, job.columns - kGranule);
    }
    const std::uint16_t* weights = job.filter.weights;
    for (std::size_t row = 0; row < job.rows; ++row, weights += job.filter.count) {
      const std::uint8_t* from = job.source + (job.filter.first[row] - job.origin) * job.stride;
      const int taps = used_taps(weights, job.filter.count);
      std::uint16_t* to = job.work + row_place(row);
      const auto filter = [&]<std::size_t kCount>(std::size_t g) HWY_ATTR {
        const std::uint8_t* first = from + column[g] * sample_bytes;
        const std::uint8_t* last = from + column[g + kCount - 1] * sample_bytes;
        if (sample_bytes == 1) {
          filter_bytes<kCount>(first, last, job.stride, weights, taps, bias, to);
        } else {
          filter_words<kCount>(first, last, job.stride, 16 - job.depth, weights, taps, bias, to);
        }
        to += kCount * kGranuleWords;
      };
      std::size_t g = 0;
      for (; g + kRun <= granules; g += kRun) filter.template operator()<kRun>(g);
      if constexpr (kRun > 2) {
        if (granules - g == 3) filter.template operator()<3>(std::exchange(g, granules));
        if (granules - g == 2) filter.template operator()<2>(std::exchange(g, granules));
      }
      for (; g < granules; ++g) filter.template operator()<1>(g);
    }
    for (std::size_t g = 0; g < granules; ++g) {
      transpose_granule(job.work + g * kGranuleWords, sample_bytes == 1,
                        job.to + column[g] * kStripRows);
    }
  }
}

/// Transposed columns of components with one filter, and that filter; locals, so that nobody thinks
/// that bytes that are stored change them.
template <std::size_t kCount>
struct Along {
  const std::uint16_t* from[kCount];
  std::int32_t origin;
  const std::int32_t* first;
  const std::uint16_t* weights;
  std::size_t taps;
  Words bias;

  Along(const StripJob& job, std::size_t input)
      : origin(job.origin[input]),
        first(job.filter[input].first),
        weights(job.filter[input].weights),
        taps(static_cast<std::size_t>(job.filter[input].count)),
        bias(hn::Set(kWords, static_cast<std::uint16_t>(job.filter[input].count / 2))) {
    for (std::size_t c = 0; c < kCount; ++c) from[c] = job.from[input + c];
  }
};

/// Output column `x` of a strip. The results are around zero, so that they fit signed words.
/// `kTaps`: how many there are; 0: as many as `along` says.
template <std::size_t kTaps, std::size_t kCount>
HWY_INLINE void filter_column_of(const Along<kCount>& along, std::size_t x,
                                 Signed (*HWY_RESTRICT to)[kColumnVectors]) {
  const std::size_t taps = kTaps == 0 ? along.taps : kTaps;
  const std::uint16_t* HWY_RESTRICT weights = along.weights + x * taps;
  const auto first = static_cast<std::size_t>(along.first[x] - along.origin) * kStripRows;
  Words sum[kCount][kColumnVectors];
  for (std::size_t c = 0; c < kCount; ++c) {
    for (std::size_t v = 0; v < kColumnVectors; ++v) sum[c][v] = along.bias;
  }
  for (std::size_t t = 0; t < taps; ++t) {
    const Words weight = hn::Set(kWords, weights[t]);
    for (std::size_t c = 0; c < kCount; ++c) {
      const std::uint16_t* HWY_RESTRICT at = along.from[c] + first + t * kStripRows;
      for (std::size_t v = 0; v < kColumnVectors; ++v) {
        const Words samples = hn::Load(kWords, at + v * kLanes);
        sum[c][v] = hn::SaturatedAdd(sum[c][v], hn::MulHigh(samples, weight));
      }
    }
  }
  const Words middle = hn::Set(kWords, 0x8000);
  for (std::size_t c = 0; c < kCount; ++c) {
    for (std::size_t v = 0; v < kColumnVectors; ++v) {
      to[c][v] = hn::BitCast(kSigned, hn::Xor(sum[c][v], middle));
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

/// Row `row` of the transposed slot begins here in the work memory, and its second half
/// `half_bytes` later: sixteen vectors in a row hold rows i, 16 + i, ... side by side, as in
/// `row_place`.
HWY_INLINE std::size_t byte_place(std::size_t row) {
  constexpr std::size_t kVector = 2 * kLanes;
  return row / kVector * kVector * kStripRows + row % 16 * kVector + row % kVector / 16 * 16;
}
constexpr std::size_t kHalf = 16 * 2 * kLanes;

/// Round, clamp and store 32 sums.
HWY_INLINE void store_bytes(const Signed* HWY_RESTRICT sums, std::uint8_t* lower,
                            std::uint8_t* upper) {
  const hn::Rebind<std::uint8_t, decltype(kSigned)> narrow;
  for (std::size_t v = 0; v < kColumnVectors; ++v) {
    const auto bytes = hn::DemoteTo(narrow, hn::ShiftRight<5>(sums[v]));
    if constexpr (kLanes == 32) {
      const hn::Half<decltype(narrow)> half;
      hn::StoreU(hn::LowerHalf(half, bytes), half, lower);
      hn::StoreU(hn::UpperHalf(half, bytes), half, upper);
    } else {
      const std::size_t row = v * kLanes;
      hn::StoreU(bytes, narrow, row < 16 ? lower + row : upper + (row - 16));
    }
  }
}

/// Round, clamp and store byte-column `row` of the transposed slot.
template <bool kSideways>
HWY_INLINE void store_row(const Signed* HWY_RESTRICT sums, std::size_t row,
                          std::uint8_t* HWY_RESTRICT work) {
  if constexpr (kSideways) {
    std::uint8_t* to = work + row * kStripRows;
    store_bytes(sums, to, to + 16);
  } else {
    std::uint8_t* to = work + byte_place(row);
    store_bytes(sums, to, to + kHalf);
  }
}

/// Filter and map all columns; each output component is one row of kStripRows bytes in the work
/// memory.
template <int kInputs, int kOutputs, bool kSideways>
void map_columns(const StripJob& job) {
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
  const std::size_t width = job.width;
  for (std::size_t x = 0; x < width; ++x) {
    Signed in[kInputs][kColumnVectors];
    filter_column(one, x, in);
    if constexpr (kInputs == 3) filter_column(others, x, in + 1);
    for (std::size_t o = 0; o < kOutputs; ++o) {
      Signed out[kColumnVectors];
      for (std::size_t v = 0; v < kColumnVectors; ++v) {
        out[v] = offset[o];
        for (std::size_t i = 0; i < kInputs; ++i) {
          out[v] = hn::Add(out[v], hn::MulHigh(in[i][v], factor[o][i]));
        }
      }
      store_row<kSideways>(out, x * kOutputs + o, work);
    }
  }
}

template <bool kSideways>
void map_columns(const StripJob& job) {
  if (job.map.outputs == 3) {
    job.map.inputs == 3 ? map_columns<3, 3, kSideways>(job) : map_columns<1, 3, kSideways>(job);
  } else {
    job.map.inputs == 3 ? map_columns<3, 1, kSideways>(job) : map_columns<1, 1, kSideways>(job);
  }
}

/// Transpose the work memory, whose rows are the slot's columns byte by byte, into the slot: that
/// interleaves red, green and blue, too.
void lay_upright(const StripJob& job) {
  constexpr std::size_t kVector = 2 * kLanes;
  const std::size_t row_bytes = job.width * static_cast<std::size_t>(job.map.outputs);
  for (std::size_t at = 0; at < row_bytes; at += kVector) {
    const std::size_t bytes = std::min(kVector, row_bytes - at);
    for (std::size_t first = 0; first < job.rows; first += 16) {
      const std::uint8_t* from = job.work + at * kStripRows + first / 16 * kHalf;
      Bytes a[16], b[16];
      for (std::size_t i = 0; i < 16; ++i) a[i] = hn::Load(kBytes, from + i * kVector);
      const auto shuffle = [](const Bytes* in, Bytes* out) HWY_ATTR {
        for (std::size_t i = 0; i < 8; ++i) {
          out[2 * i] = hn::InterleaveLower(kBytes, in[i], in[i + 8]);
          out[2 * i + 1] = hn::InterleaveUpper(kBytes, in[i], in[i + 8]);
        }
      };
      shuffle(a, b);
      shuffle(b, a);
      shuffle(a, b);
      shuffle(b, a);
      std::uint8_t* to = job.to + first * job.stride + at;
      const std::size_t rows = std::min<std::size_t>(16, job.rows - first);
      if (rows == 16 && bytes == kVector) {
        for (std::size_t i = 0; i < 16; ++i) hn::StoreU(a[i], kBytes, to + i * job.stride);
      } else {
        alignas(64) std::uint8_t whole[16 * kVector];
        for (std::size_t i = 0; i < 16; ++i) hn::Store(a[i], kBytes, whole + i * kVector);
        for (std::size_t i = 0; i < rows; ++i) {
          std::memcpy(to + i * job.stride, whole + i * kVector, bytes);
        }
      }
    }
  }
}

/// The strip's columns are rows of the slot already; only components have to be interleaved.
void lay_sideways(const StripJob& job) {
  const auto outputs = static_cast<std::size_t>(job.map.outputs);
  const hn::CappedTag<std::uint8_t, kStripRows> tag;
  constexpr std::size_t kStep = hn::MaxLanes(decltype(tag)());
  for (std::size_t x = 0; x < job.width; ++x) {
    const std::uint8_t* from = job.work + x * outputs * kStripRows;
    std::uint8_t interleaved[3 * kStripRows];
    if (outputs == 3) {
      for (std::size_t i = 0; i < kStripRows; i += kStep) {
        hn::StoreInterleaved3(hn::LoadU(tag, from + i), hn::LoadU(tag, from + kStripRows + i),
                              hn::LoadU(tag, from + 2 * kStripRows + i), tag, interleaved + 3 * i);
      }
      from = interleaved;
    }
    std::memcpy(job.to + x * job.stride, from, job.rows * outputs);
  }
}

void write_strip(const StripJob& job) {
  if (job.sideways) {
    map_columns<true>(job);
    lay_sideways(job);
  } else {
    map_columns<false>(job);
    lay_upright(job);
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
HWY_EXPORT(filter_columns);
HWY_EXPORT(write_strip);
HWY_EXPORT(kernel_target);
}  // namespace

void filter_columns(const ColumnsJob& job) { HWY_DYNAMIC_DISPATCH(filter_columns)(job); }
const char* kernel_target() { return HWY_DYNAMIC_DISPATCH(kernel_target)(); }
void write_strip(const StripJob& job) { HWY_DYNAMIC_DISPATCH(write_strip)(job); }

IntegerMap integer_map(const AffineMap& map, const std::array<int, 3>& depth) {
  IntegerMap integers;
  integers.inputs = map.inputs;
  integers.outputs = map.outputs;
  for (std::size_t o = 0; o < static_cast<std::size_t>(map.outputs); ++o) {
    // What the map gives in the middle of the range, where centred samples are 0.
    double middle = map.offset[o];
    double products = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(map.inputs); ++i) {
      middle += map.factor[o][i] * std::ldexp(1, depth[i] - 1);
      // Per 1/65536 of full scale, times 2^16 for the multiply-high, times 32 for the sum's unit.
      const double factor = std::round(std::ldexp(map.factor[o][i], depth[i] - 16 + 16 + 5));
      integers.factor[o][i] = static_cast<std::int16_t>(std::clamp(factor, -32768.0, 32767.0));
      if (integers.factor[o][i] != 0) ++products;
    }
    // Half a step so that the shift rounds half up; half a unit for each product, because the
    // multiply-high rounds down.
    const double offset = std::round(32 * middle + 16 + products / 2);
    integers.offset[o] = static_cast<std::int16_t>(std::clamp(offset, -32768.0, 32767.0));
  }
  return integers;
}

}  // namespace shardreel
#endif  // HWY_ONCE
