#pragma once
// Keyed randomness: a value is a function of its key, never of a shared stream. The same on every
// machine.

#include <cstdint>
#include <initializer_list>

namespace shardreel {

/// What a draw is for; part of its key, so that one choice never disturbs another. Never renumber.
enum class Purpose : std::uint64_t {
  kShardOrder = 1,
  kClipShuffle = 2,
  kWindowChoice = 3,
  kCropX = 4,
  kCropY = 5,
  kCropArea = 6,
  kCropRatio = 7,
  kFlip = 8,
  kUnitShuffle = 9,
};

/// Finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection on 64 bits that passes avalanche
/// tests.
constexpr std::uint64_t mix64(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  x ^= x >> 31;
  return x;
}

/// Fold a seed, a purpose and an identity into 64 well-mixed bits.
constexpr std::uint64_t keyed_hash(std::uint64_t seed, Purpose purpose,
                                   std::initializer_list<std::uint64_t> key) {
  std::uint64_t state = mix64(seed + 0x9e3779b97f4a7c15ULL);
  state = mix64(state ^ (static_cast<std::uint64_t>(purpose) * 0xd1342543de82ef95ULL));
  for (std::uint64_t part : key) state = mix64(state * 0x9e3779b97f4a7c15ULL + part + 1);
  return state;
}

/// Map 64 random bits to [0, n), n > 0. Multiply-shift: the bias is below n / 2^64.
constexpr std::uint64_t bounded(std::uint64_t bits, std::uint64_t n) {
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits) * n) >> 64);
}

/// Map 64 random bits to [0, 1): the upper 53 bits, exact in a double.
constexpr double unit_interval(std::uint64_t bits) {
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

}  // namespace shardreel
