#include <algorithm>
#include <utility>

#include "loader/media/strip_kernels.h"
#include "loader/media/strip_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "loader/media/filter_columns.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.
#include "loader/media/strip_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shardreel {
namespace HWY_NAMESPACE {
namespace {

constexpr std::size_t kGranuleWords = kGranule * kStripRows;  // of a strip

/// Granules that are filtered together: as many as there are registers for their sums.
constexpr std::size_t kRun = kLanes / 8;

/// A strip's row of granules.
struct Row {
  const std::uint8_t* first;  ///< granules are kGranule columns after each other from here,
  const std::uint8_t* last;   ///< but the last is here
  std::ptrdiff_t stride;      ///< bytes to the next row of the source
  const std::uint32_t* weights;
  int taps;
  Words bias;         ///< what rounding all products down takes on average
  std::uint16_t* to;  ///< of the first granule; the next kGranuleWords later
};

/// `kCount` granules of bytes, each as a vector of its even columns and one of its odd in turn.
/// `kTaps`: how many there are; 0: as many as the row says.
template <std::size_t kCount, int kTaps>
HWY_INLINE void filter_bytes(const Row& row) {
  constexpr std::size_t kVectors = kGranule / kByteLanes;
  const int taps = kTaps == 0 ? row.taps : kTaps;
  const std::uint8_t *HWY_RESTRICT first = row.first, *HWY_RESTRICT last = row.last;
  Words even[kCount * kVectors], odd[kCount * kVectors];
  for (std::size_t v = 0; v < kCount * kVectors; ++v) even[v] = odd[v] = hn::Zero(kWords);
  for (int t = 0; t < taps; ++t, first += row.stride, last += row.stride) {
    const Words weight = spread(row.weights[t]);
    for (std::size_t g = 0; g < kCount; ++g) {
      const std::uint8_t* from = g + 1 < kCount ? first + g * kGranule : last;
      for (std::size_t v = 0; v < kVectors; ++v) {
        // A word holds two samples: the even one is shifted up, the odd one is up already. What
        // the even one adds to the odd one's sum is taken off at the end.
        const Words pair = hn::BitCast(kWords, hn::LoadU(kBytes, from + v * kByteLanes));
        Words& even_sum = even[g * kVectors + v];
        Words& odd_sum = odd[g * kVectors + v];
        // Weights add up to 65536 at most: nothing overflows but by the bias. Adding without
        // saturation is the cheaper one where vectors are wide.
        even_sum = hn::Add(even_sum, hn::MulHigh(hn::ShiftLeft<8>(pair), weight));
        odd_sum = hn::Add(odd_sum, hn::MulHigh(pair, weight));
      }
    }
  }
  for (std::size_t v = 0; v < kCount * kVectors; ++v) {
    std::uint16_t* to = row.to + v / kVectors * kGranuleWords + v % kVectors * 2 * kLanes;
    const Words below = hn::Add(even[v], row.bias);
    const Words both = hn::SaturatedAdd(odd[v], row.bias);
    hn::Store(below, kWords, to);
    hn::Store(hn::SaturatedSub(both, hn::ShiftRight<8>(below)), kWords, to + kLanes);
  }
}

/// The same for samples of `16 - shift` bits in words, columns in their order. `room` below the
/// most that a word holds stays free.
template <std::size_t kCount>
HWY_INLINE void filter_words(const Row& row, int shift, Words room) {
  constexpr std::size_t kVectors = kGranule / kLanes;
  const std::uint8_t *HWY_RESTRICT first = row.first, *HWY_RESTRICT last = row.last;
  Words sum[kCount * kVectors];
  for (std::size_t v = 0; v < kCount * kVectors; ++v) sum[v] = hn::Zero(kWords);
  // A product, because shifting by a variable takes two instructions inside the processor.
  const Words up = hn::Set(kWords, static_cast<std::uint16_t>(1 << shift));
  for (int t = 0; t < row.taps; ++t, first += row.stride, last += row.stride) {
    const Words weight = spread(row.weights[t]);
    for (std::size_t g = 0; g < kCount; ++g) {
      const std::uint8_t* from = g + 1 < kCount ? first + g * kGranule * 2 : last;
      for (std::size_t v = 0; v < kVectors; ++v) {
        // Rows need not be aligned to words.
        const Words raw = hn::BitCast(kWords, hn::LoadU(kBytes, from + v * kByteLanes));
        Words& one = sum[g * kVectors + v];
        one = hn::Add(one, hn::MulHigh(hn::Mul(raw, up), weight));
      }
    }
  }
  const Words bias_and_room = hn::Add(row.bias, room);
  for (std::size_t v = 0; v < kCount * kVectors; ++v) {
    const Words rounded = hn::Sub(hn::SaturatedAdd(sum[v], bias_and_room), room);
    hn::Store(rounded, kWords, row.to + v / kVectors * kGranuleWords + v % kVectors * kLanes);
  }
}

/// Transpose the rows of a granule to columns of the strip. `kParted`: even and odd columns lie in
/// vectors of their own.
template <bool kParted>
HWY_INLINE void transpose_granule(const std::uint16_t* HWY_RESTRICT from,
                                  std::uint16_t* HWY_RESTRICT to) {
  constexpr std::size_t kStep = kParted ? 2 : 1;
  for (std::size_t block = 0; block < kGranule / 8; ++block) {
    const std::size_t pair = block / (2 * kBlocks), odd = block / kBlocks % 2;
    const std::size_t column = kParted ? pair * 2 * kLanes + block % kBlocks * 16 + odd : block * 8;
    for (std::size_t part = 0; part < kColumnVectors; ++part) {
      const std::uint16_t* rows = from + part * kLanes * kGranule + block * 8;
      Words in[8];
      for (std::size_t i = 0; i < 8; ++i) {
        in[i] = gather_blocks(kWords, rows + i * kGranule, 8 * kGranule);
      }
      transpose_blocks<3>(kWords, in);
      for (std::size_t i = 0; i < 8; ++i) {
        hn::Store(in[i], kWords, to + (column + i * kStep) * kStripRows + part * kLanes);
      }
    }
  }
}

/// Taps whose weight is not zero; those at the end are left out.
HWY_INLINE int used_taps(const std::uint32_t* weights, int taps) {
  while (taps > 1 && weights[taps - 1] == 0) --taps;
  return taps;
}

/// All of a job. Locals, so that nobody thinks that samples that are stored change it.
template <bool kOfBytes>
void filter_columns_of(const ColumnsJob& job) {
  constexpr std::size_t kSampleBytes = kOfBytes ? 1 : 2;
  const Words room = hn::Set(kWords, job.room);
  const std::ptrdiff_t stride = job.stride;
  const std::int32_t* const firsts = job.filter.first;
  const std::uint8_t* const source = job.source - job.origin * stride;
  const std::size_t columns = job.columns, rows = job.rows;
  const int count = job.filter.count, shift = 16 - job.depth;
  std::uint16_t *const work = job.work, *const to = job.to;
  Row row{};
  row.stride = stride;
  row.bias = hn::Set(kWords, static_cast<std::uint16_t>(count / 2));
  for (std::size_t start = 0; start < columns; start += kChunk) {
    // The last granule ends with the columns: some are done twice, none beyond is read.
    std::size_t column[kChunk / kGranule] = {}, granules = 0;
    for (std::size_t x = start; x < std::min(start + kChunk, columns); x += kGranule) {
      column[granules++] = std::min(x, columns - kGranule);
    }
    row.weights = job.filter.weights;
    for (std::size_t y = 0; y < rows; ++y, row.weights += count) {
      const std::uint8_t* from = source + firsts[y] * stride;
      row.taps = used_taps(row.weights, count);
      row.to = work + y * kGranule;
      const auto filter = [&]<std::size_t kCount>(std::size_t g) HWY_ATTR {
        row.first = from + column[g] * kSampleBytes;
        row.last = from + column[g + kCount - 1] * kSampleBytes;
        if constexpr (!kOfBytes) {
          filter_words<kCount>(row, shift, room);
        } else if (row.taps == 2) {
          filter_bytes<kCount, 2>(row);
        } else if (row.taps == 3) {
          filter_bytes<kCount, 3>(row);
        } else {
          filter_bytes<kCount, 0>(row);
        }
        row.to += kCount * kGranuleWords;
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
      transpose_granule<kOfBytes>(work + g * kGranuleWords, to + column[g] * kStripRows);
    }
  }
}

void filter_columns(const ColumnsJob& job) {
  job.sample_bytes == 1 ? filter_columns_of<true>(job) : filter_columns_of<false>(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace shardreel
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shardreel {

namespace {
HWY_EXPORT(filter_columns);
}  // namespace

void filter_columns(const ColumnsJob& job) { HWY_DYNAMIC_DISPATCH(filter_columns)(job); }

}  // namespace shardreel
#endif  // HWY_ONCE
