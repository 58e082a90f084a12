#pragma once
// Scale one component: a fractional region of its rows to a plane of 16-bit samples. The only file
// pair that knows zimg.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <memory>

#include "loader/media/component_rows.h"
#include "shardreel/error.h"

namespace shardreel {

/// Memory aligned for every vector unit, which only grows.
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;
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

/// Scales with a centre-aligned triangle filter, widened by the ratio when shrinking; samples
/// outside the region but inside the component take part, beyond its edges it is mirrored. Keeps
/// the graphs of the last geometries, at most `kMaxGraphs`. Not thread-safe.
class PlaneScaler {
 public:
  static constexpr std::size_t kMaxGraphs = 16;

  PlaneScaler();
  PlaneScaler(const PlaneScaler&) = delete;
  PlaneScaler& operator=(const PlaneScaler&) = delete;
  ~PlaneScaler();

  /// Fill `to`, whose size is set.
  Result<void> scale(const ComponentRows& from, const Region& region, Plane& to);

  /// Bytes held: scratch rows and, by formula, graphs.
  [[nodiscard]] std::uint64_t scratch_bytes() const noexcept;
  /// An upper bound of it after scaling components of up to width x height to planes whose sides
  /// are within [smallest, largest].
  static std::uint64_t scratch_bound(std::uint64_t width, std::uint64_t height,
                                     std::uint64_t smallest, std::uint64_t largest);

 private:
  struct Graph;
  Result<Graph*> graph_for(const ComponentRows& from, std::uint32_t height, const Region& region,
                           const Plane& to);

  std::list<Graph> graphs_;  // last used first
  AlignedBuffer work_;       // zimg's
  AlignedBuffer rows_;       // input rows that zimg cannot read where they are
};

}  // namespace shardreel
