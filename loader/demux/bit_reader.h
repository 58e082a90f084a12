#pragma once
// Bits of a codec's header, first bit first; reading behind the end gives zeros.

#include <cstddef>
#include <cstdint>
#include <span>

namespace shardreel {

class BitReader {
 public:
  explicit BitReader(std::span<const std::uint8_t> bytes) noexcept : bytes_(bytes) {}

  std::uint32_t bits(unsigned count) noexcept {
    std::uint32_t value = 0;
    for (; count > 0; --count) value = (value << 1) | bit();
    return value;
  }
  std::uint32_t bit() noexcept {
    const std::size_t byte = position_ >> 3;
    if (byte >= bytes_.size()) return 0;
    const std::uint32_t value = (bytes_[byte] >> (7 - (position_ & 7))) & 1u;
    ++position_;
    return value;
  }
  /// Unsigned Exp-Golomb code (H.264 9.1); at most 31 leading zeros, more gives the maximum.
  std::uint32_t golomb() noexcept {
    unsigned zeros = 0;
    while (bit() == 0) {
      if (++zeros == 32 || at_end()) return UINT32_MAX;
    }
    return (1u << zeros) - 1 + bits(zeros);
  }
  [[nodiscard]] bool at_end() const noexcept { return (position_ >> 3) >= bytes_.size(); }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t position_ = 0;
};

}  // namespace shardreel
