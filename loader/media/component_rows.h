#pragma once
// One component (Y, U, V, R, G, B) of a frame as rows of plain samples, whatever the pixel format.

#include <array>
#include <cstddef>
#include <cstdint>

#include "shardreel/error.h"

struct AVFrame;
struct AVPixFmtDescriptor;

namespace shardreel {

enum class ColorFamily { kYuv, kGray, kRgb };

/// How a pixel format stores its components, after FFmpeg's descriptor.
struct PixelLayout {
  const AVPixFmtDescriptor* descriptor = nullptr;
  ColorFamily family = ColorFamily::kYuv;
  int components = 3;                 ///< 1 or 3; alpha is not looked at
  std::array<int, 3> depth{8, 8, 8};  ///< bits of each component
  bool full_range = false;            ///< the format itself says so (yuvj*, RGB)
};

/// Return the layout of an AVPixelFormat. kUnsupported for frames in device memory, Bayer, XYZ and
/// floating point.
Result<PixelLayout> pixel_layout(int format);

/// Rows of one component, after the frame's own crop fields. Borrows the frame.
class ComponentRows {
 public:
  ComponentRows(const AVFrame& frame, const PixelLayout& layout, int component);

  [[nodiscard]] std::uint32_t width() const { return width_; }
  [[nodiscard]] std::uint32_t height() const { return height_; }
  /// 1 or 2 (native order).
  [[nodiscard]] std::size_t sample_bytes() const { return sample_bytes_; }
  /// Significant bits of a sample, in its low bits; more than the component has where `read`
  /// shifts.
  [[nodiscard]] int sample_depth() const { return sample_depth_; }

  /// The samples lie in memory as `read` would give them, rows `stride` bytes apart (negative:
  /// bottom-up).
  [[nodiscard]] bool direct() const { return direct_; }
  [[nodiscard]] const std::uint8_t* data() const { return data_; }
  [[nodiscard]] std::ptrdiff_t stride() const { return stride_; }

  /// Write samples [left, right) of a row to `to`. Reads nothing outside them.
  void read(std::uint32_t row, std::uint32_t left, std::uint32_t right, void* to) const noexcept;

 private:
  const AVFrame& frame_;
  const PixelLayout& layout_;
  int component_;
  std::uint32_t left_ = 0, top_ = 0;  // the frame's crop, in samples of this component
  std::uint32_t width_ = 0, height_ = 0;
  std::size_t sample_bytes_ = 1;
  int sample_depth_ = 8;
  bool direct_ = false;
  bool regular_ = false;  // whole little-endian bytes or words, `step_` bytes apart
  int step_ = 1, shift_ = 0;
  const std::uint8_t* data_ = nullptr;
  std::ptrdiff_t stride_ = 0;
};

}  // namespace shardreel
