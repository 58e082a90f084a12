#pragma once
// Scale one component: a fractional region of its rows to a plane of 16-bit samples. The only file
// pair that knows zimg, for what the strip converter does not take.

#include <cstddef>
#include <cstdint>
#include <list>

#include "loader/media/component_rows.h"
#include "loader/media/plane.h"
#include "shardreel/error.h"

namespace shardreel {

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
