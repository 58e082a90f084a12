#pragma once
// Whether a device's decoder shows what the CPU's does.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "loader/decode/video_decoder.h"
#include "loader/media/frame_converter.h"
#include "shardreel/options.h"

namespace shardreel {

/// Compares the first few wanted frames of a unit that both decode, whole pictures as slots, and
/// judges by the pixel contract (docs/pixels.md) with the CPU's as the reference. Used by one
/// thread.
class PixelProof {
 public:
  /// `converter` takes the frames of both; borrowed.
  PixelProof(FrameConverter& converter, const TransformOptions& options);

  /// Forget the frames of an earlier unit.
  void begin(const StreamParameters& parameters);
  Result<void> device_frame(const AVFrame& frame, const WantedFrame& wanted);
  /// The device gave its last one.
  Result<void> device_done() { return converter_.finish(); }
  Result<void> cpu_frame(const AVFrame& frame, const WantedFrame& wanted);

  /// In words how far the pictures are apart; nothing where that is within the contract.
  [[nodiscard]] std::optional<std::string> difference() const;

 private:
  Result<void> convert(const AVFrame& frame, std::vector<std::byte>& slot);
  FrameConverter& converter_;
  TransformOptions options_;
  Orientation orientation_;
  std::map<std::int64_t, std::vector<std::byte>> of_device_;  // slots by number of the frame
  std::size_t frames_ = 0;                                    // of the device's
  std::uint64_t bytes_ = 0, squares_ = 0, beyond_usual_ = 0;
  int most_ = 0;
  std::optional<std::string> missing_;
};

}  // namespace shardreel
