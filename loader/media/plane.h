#pragma once
// Samples in memory, and where in them a crop lies.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace shardreel {

/// Memory aligned for every vector unit, which only grows.
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;
  static constexpr std::size_t rounded(std::size_t bytes) {
    return (bytes + kAlignment - 1) & ~(kAlignment - 1);
  }
  /// Return at least `bytes`; their old content is lost when it has to grow.
  std::byte* reserve(std::size_t bytes);
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };
  std::unique_ptr<std::byte[], Free> memory_;
  std::size_t capacity_ = 0;
};

/// A plane of samples with 16 significant bits.
class Plane {
 public:
  void resize(std::uint32_t width, std::uint32_t height);
  [[nodiscard]] std::uint32_t width() const { return width_; }
  [[nodiscard]] std::uint32_t height() const { return height_; }
  [[nodiscard]] std::size_t stride_bytes() const { return stride_ * sizeof(std::uint16_t); }
  [[nodiscard]] std::uint16_t* row(std::size_t y) { return samples_ + y * stride_; }
  [[nodiscard]] const std::uint16_t* row(std::size_t y) const { return samples_ + y * stride_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return buffer_.capacity(); }

  /// What `resize` takes at most.
  static std::uint64_t bytes(std::uint64_t width, std::uint64_t height);

 private:
  AlignedBuffer buffer_;
  std::uint16_t* samples_ = nullptr;
  std::size_t stride_ = 0;
  std::uint32_t width_ = 0, height_ = 0;
};

/// A rectangle in a component's own samples; may reach beyond them by less than a sample (chroma
/// siting).
struct Region {
  double left = 0, top = 0, width = 0, height = 0;
  friend bool operator==(const Region&, const Region&) = default;
};

/// Samples of one component as they lie in memory, native byte order. Borrowed.
struct SourcePlane {
  const std::uint8_t* data = nullptr;
  std::ptrdiff_t stride = 0;  ///< bytes between rows; negative: bottom-up
  std::uint32_t width = 0, height = 0;
  int sample_bytes = 1;
  int depth = 8;  ///< significant bits of a sample, in its low bits
};

}  // namespace shardreel
