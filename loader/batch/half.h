#pragma once
// IEEE 754 binary16 from a double, without help of the compiler: the same bits everywhere.

#include <bit>
#include <cstdint>

namespace shardreel {

/// Round to the nearest binary16, ties to even, in one step; too large becomes infinity, NaN stays
/// NaN.
constexpr std::uint16_t to_half(double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 48) & 0x8000U);
  const std::uint64_t magnitude = bits & 0x7fffffffffffffffULL;
  if (magnitude > 0x7ff0000000000000ULL) return sign | 0x7e00U;        // NaN
  const int exponent = static_cast<int>(magnitude >> 52) - 1023 + 15;  // biased for binary16
  if (exponent >= 31) return sign | 0x7c00U;
  if (exponent < -10) return sign;  // below half of the smallest subnormal
  // Keep 10 bits below the leading one, fewer where the result is subnormal.
  const int dropped = 42 + (exponent > 0 ? 0 : 1 - exponent);
  const std::uint64_t mantissa = (magnitude & 0xfffffffffffffULL) | 0x10000000000000ULL;
  const std::uint64_t half = 1ULL << (dropped - 1);
  const std::uint64_t kept = (mantissa + half - 1 + ((mantissa >> dropped) & 1)) >> dropped;
  // The leading one of a normal number adds itself to the exponent; a carry out of the mantissa,
  // up to infinity, comes out right the same way.
  const std::uint64_t base = exponent > 0 ? static_cast<std::uint64_t>(exponent - 1) << 10 : 0;
  return static_cast<std::uint16_t>(sign | (base + kept));
}

}  // namespace shardreel
