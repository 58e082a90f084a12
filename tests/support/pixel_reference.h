#pragma once
// docs/pixels.md in double precision, written from its text and not from the converter: slow,
// plain, the judge of every implementation.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "loader/media/frame_geometry.h"
#include "shardreel/options.h"

struct AVFrame;

namespace shardreel::testing {

/// What a frame's slot must hold. Throws for a pixel format the contract does not cover.
std::vector<std::uint8_t> reference_slot(const AVFrame& frame, const FrameGeometry& geometry,
                                         const TransformOptions& options);

/// How far two slots are apart.
struct PixelDifference {
  double psnr = 0;      ///< dB, 99 for equal
  double over_two = 0;  ///< share of the components that differ by more than 2
  int largest = 0;
  /// Whether the contract's bounds hold.
  [[nodiscard]] bool within_contract() const {
    return psnr >= 46 && over_two <= 0.001 && largest <= 6;
  }
  [[nodiscard]] std::string describe() const;
};

PixelDifference compare_pixels(std::span<const std::uint8_t> got,
                               std::span<const std::uint8_t> want);

}  // namespace shardreel::testing
