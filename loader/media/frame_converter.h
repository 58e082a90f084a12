#pragma once
// Turn a decoder's frame into a slot: crop, scale, colour, rotation, flip, within the pixel
// contract (docs/pixels.md).

#include <cstddef>
#include <memory>
#include <span>

#include "loader/media/frame_geometry.h"
#include "shardreel/error.h"
#include "shardreel/options.h"

struct AVFrame;

namespace shardreel {

/// Takes frames of any size and pixel format in host memory; writes slots [H, W, C] of uint8
/// (yuv420: I420, planar). Keeps filters and scratch rows for the geometries it has seen
/// last (bounded), nothing of any frame. Not thread-safe: one per decode thread.
class FrameConverter {
 public:
  virtual ~FrameConverter() = default;

  /// Write `frame` into `slot` (exactly `slot_bytes` long). kUnsupported names a pixel format
  /// nobody can take.
  virtual Result<void> convert(const AVFrame& frame, const FrameGeometry& geometry,
                               std::span<std::byte> slot) = 0;

  /// Whether a frame lies in a device's memory; and write such a one into a slot there, once
  /// `finish` says that it was done.
  [[nodiscard]] virtual bool is_on_device(const AVFrame& /*frame*/) const { return false; }
  virtual Result<void> convert_there(const AVFrame& /*frame*/, const FrameGeometry& /*geometry*/,
                                     std::byte* /*slot*/) {
    return Error{.code = ErrorCode::kInternal, .message = "a converter that has no device"};
  }

  /// Frames of a device's memory are written later: `finish` waits until all slots are.
  [[nodiscard]] virtual bool writes_later() const noexcept { return false; }
  virtual Result<void> finish() { return {}; }

  /// Bytes of scratch memory held now, for the ledger.
  [[nodiscard]] virtual std::uint64_t scratch_bytes() const noexcept = 0;
};

/// Return the converter for these options.
std::unique_ptr<FrameConverter> make_frame_converter(const TransformOptions& options);

/// An upper bound of `scratch_bytes` for frames of this size, for the memory plan.
std::uint64_t converter_scratch_bytes(std::uint32_t coded_width, std::uint32_t coded_height,
                                      const TransformOptions& options);

}  // namespace shardreel
