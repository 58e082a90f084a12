// The vectors of one instruction set. Compiled once for each; included inside of none.

#if defined(SHARDREEL_STRIP_VECTORS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SHARDREEL_STRIP_VECTORS_INL_H
#undef SHARDREEL_STRIP_VECTORS_INL_H
#else
#define SHARDREEL_STRIP_VECTORS_INL_H
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "loader/media/strip_kernels.h"

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
constexpr std::size_t kByteLanes = 2 * kLanes;
constexpr std::size_t kBlocks = kLanes / 8;                  // of 128 bits in a vector
constexpr std::size_t kColumnVectors = kStripRows / kLanes;  // hold one column of a strip

/// A weight in every lane. Loading 32 bits into all of a vector needs no shuffle, loading 16 does.
HWY_INLINE Words spread(std::uint32_t doubled_weight) {
  const hn::Repartition<std::uint32_t, decltype(kWords)> pairs;
  return hn::BitCast(kWords, hn::Set(pairs, doubled_weight));
}

/// The 128-bit blocks at `from` and every `step` lanes after it, as many as a vector has. Blocks
/// that are spread while they are loaded and blended need no shuffle: transposes have enough.
template <class D>
HWY_INLINE hn::Vec<D> gather_blocks(D d, const hn::TFromD<D>* HWY_RESTRICT from, std::size_t step) {
  if constexpr (kBlocks == 1) {
    return hn::Load(d, from);
  } else {
    const auto pair = [d, step](const hn::TFromD<D>* at) HWY_ATTR {
      return hn::OddEvenBlocks(hn::LoadDup128(d, at + step), hn::LoadDup128(d, at));
    };
    if constexpr (kBlocks == 2) {
      return pair(from);
    } else {
      return hn::ConcatUpperLower(d, pair(from + 2 * step), pair(from));
    }
  }
}

/// One step of a transpose inside of 128-bit blocks: `kSteps` of them make the rows of eight
/// vectors columns, three for words, four where a block has two rows of eight bytes.
template <int kSteps, class D>
HWY_INLINE void transpose_blocks(D d, hn::Vec<D> (&rows)[8]) {
  for (int step = 0; step < kSteps; ++step) {
    hn::Vec<D> mixed[8];
    for (std::size_t i = 0; i < 4; ++i) {
      mixed[2 * i] = hn::InterleaveLower(d, rows[i], rows[i + 4]);
      mixed[2 * i + 1] = hn::InterleaveUpper(d, rows[i], rows[i + 4]);
    }
    for (std::size_t i = 0; i < 8; ++i) rows[i] = mixed[i];
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace shardreel
HWY_AFTER_NAMESPACE();

#endif  // the toggle
