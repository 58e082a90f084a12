#include "loader/media/row_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace shardreel {
namespace {

// The loops are written so that both compilers turn them into multiply-high instructions on 16-bit
// lanes; the functions at the end instantiate them per instruction set. Everything between must be
// inlined into those, or it would be compiled for the lowest one.
#define SHARDREEL_INLINE inline __attribute__((always_inline))

constexpr std::size_t kBlock = 32;  // pixels; two vectors of 16 words

using Bytes16 = std::uint8_t __attribute__((vector_size(16)));

SHARDREEL_INLINE std::int16_t multiply_high(std::int16_t a, std::int16_t b) {
  return static_cast<std::int16_t>((std::int32_t{a} * b) >> 16);
}

SHARDREEL_INLINE std::uint8_t to_byte(std::int16_t sum) {
  auto value = static_cast<std::int16_t>(sum >> 5);
  value = value < 0 ? std::int16_t{0} : value;
  return static_cast<std::uint8_t>(value > 255 ? std::int16_t{255} : value);
}

/// Samples around zero, so that they fit signed words.
SHARDREEL_INLINE std::int16_t centred(std::uint16_t sample) {
  return static_cast<std::int16_t>(sample ^ 0x8000U);
}

/// One output component of a block.
template <int kInputs>
SHARDREEL_INLINE void map_block(const SampleRows& rows, std::size_t x, const IntegerMap& map,
                                std::size_t out, std::uint8_t* __restrict to) {
  const std::uint16_t* __restrict first = rows[0] + x;
  const std::int16_t m0 = map.factor[out][0], offset = map.offset[out];
  if constexpr (kInputs == 1) {
    for (std::size_t i = 0; i < kBlock; ++i) {
      to[i] = to_byte(static_cast<std::int16_t>(multiply_high(centred(first[i]), m0) + offset));
    }
  } else {
    const std::uint16_t* __restrict second = rows[1] + x;
    const std::uint16_t* __restrict third = rows[2] + x;
    const std::int16_t m1 = map.factor[out][1], m2 = map.factor[out][2];
    for (std::size_t i = 0; i < kBlock; ++i) {
      to[i] = to_byte(static_cast<std::int16_t>(multiply_high(centred(first[i]), m0) +
                                                multiply_high(centred(second[i]), m1) +
                                                multiply_high(centred(third[i]), m2) + offset));
    }
  }
}

SHARDREEL_INLINE Bytes16 load(const std::uint8_t* from) {
  Bytes16 value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// 16 pixels of three components; two byte shuffles per output vector.
SHARDREEL_INLINE void interleave16(const std::uint8_t* red, const std::uint8_t* green,
                                   const std::uint8_t* blue, std::uint8_t* to) {
  const Bytes16 r = load(red), g = load(green), b = load(blue);
  const Bytes16 rg0 =
      __builtin_shufflevector(r, g, 0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5);
  const Bytes16 rg1 =
      __builtin_shufflevector(r, g, 21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25, 0, 10, 26);
  const Bytes16 rg2 =
      __builtin_shufflevector(r, g, 0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30, 0, 15, 31, 0);
  const Bytes16 out0 =
      __builtin_shufflevector(rg0, b, 0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15);
  const Bytes16 out1 =
      __builtin_shufflevector(rg1, b, 0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24, 11, 12, 25, 14, 15);
  const Bytes16 out2 =
      __builtin_shufflevector(rg2, b, 26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10, 11, 30, 13, 14, 31);
  std::memcpy(to, &out0, sizeof out0);
  std::memcpy(to + 16, &out1, sizeof out1);
  std::memcpy(to + 32, &out2, sizeof out2);
}

template <int kInputs, int kOutputs, bool kShuffle>
SHARDREEL_INLINE void block(const SampleRows& rows, std::size_t x, const IntegerMap& map,
                            std::uint8_t* to) {
  if constexpr (kOutputs == 1) {
    map_block<kInputs>(rows, x, map, 0, to);
  } else {
    alignas(32) std::uint8_t component[3][kBlock];
    for (std::size_t o = 0; o < 3; ++o) map_block<kInputs>(rows, x, map, o, component[o]);
    if constexpr (kShuffle) {
      for (std::size_t i = 0; i < kBlock; i += 16) {
        interleave16(component[0] + i, component[1] + i, component[2] + i, to + 3 * i);
      }
    } else {
      for (std::size_t i = 0; i < kBlock; ++i) {
        for (std::size_t o = 0; o < 3; ++o) to[3 * i + o] = component[o][i];
      }
    }
  }
}

template <int kInputs, int kOutputs, bool kShuffle>
SHARDREEL_INLINE void row(const SampleRows& rows, std::size_t width, const IntegerMap& map,
                          std::uint8_t* to) {
  std::size_t x = 0;
  for (; x + kBlock <= width; x += kBlock) {
    block<kInputs, kOutputs, kShuffle>(rows, x, map, to + x * kOutputs);
  }
  if (x == width) return;
  // The rest goes through a padded copy: neither a read nor a write beyond the row.
  const std::size_t rest = width - x;
  std::uint16_t samples[3][kBlock] = {};
  SampleRows padded{};
  for (std::size_t i = 0; i < kInputs; ++i) {
    std::memcpy(samples[i], rows[i] + x, rest * sizeof(std::uint16_t));
    padded[i] = samples[i];
  }
  std::uint8_t bytes[kBlock * kOutputs];
  block<kInputs, kOutputs, kShuffle>(padded, 0, map, bytes);
  std::memcpy(to + x * kOutputs, bytes, rest * kOutputs);
}

template <int kInputs, int kOutputs>
void portable_row(const SampleRows& rows, std::size_t width, const IntegerMap& map,
                  std::uint8_t* to) {
  row<kInputs, kOutputs, false>(rows, width, map, to);
}

#if defined(__x86_64__)
template <int kInputs, int kOutputs>
__attribute__((target("ssse3"))) void ssse3_row(const SampleRows& rows, std::size_t width,
                                                const IntegerMap& map, std::uint8_t* to) {
  row<kInputs, kOutputs, true>(rows, width, map, to);
}

template <int kInputs, int kOutputs>
__attribute__((target("avx2"))) void avx2_row(const SampleRows& rows, std::size_t width,
                                              const IntegerMap& map, std::uint8_t* to) {
  row<kInputs, kOutputs, true>(rows, width, map, to);
}
#endif

template <int kInputs, int kOutputs>
RowKernel best() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return avx2_row<kInputs, kOutputs>;
  if (__builtin_cpu_supports("ssse3")) return ssse3_row<kInputs, kOutputs>;
#endif
  return portable_row<kInputs, kOutputs>;
}

}  // namespace

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

RowKernel row_kernel(const IntegerMap& map) {
  if (map.outputs == 3) return map.inputs == 3 ? best<3, 3>() : best<1, 3>();
  return map.inputs == 3 ? best<3, 1>() : best<1, 1>();
}

RowKernel portable_row_kernel(const IntegerMap& map) {
  if (map.outputs == 3) return map.inputs == 3 ? portable_row<3, 3> : portable_row<1, 3>;
  return map.inputs == 3 ? portable_row<3, 1> : portable_row<1, 1>;
}

#undef SHARDREEL_INLINE

}  // namespace shardreel
