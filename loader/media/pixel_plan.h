#pragma once
// How a device turns frames into slots: the filters of the pixel contract as tables, and the jobs
// that use them.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "loader/device/pixel_job.h"
#include "loader/media/color_matrix.h"
#include "loader/media/frame_geometry.h"
#include "shardreel/error.h"
#include "shardreel/options.h"

struct AVFrame;

namespace shardreel {

/// What a batch's type is called there.
[[nodiscard]] PixelType pixel_type(DType dtype);

/// Where a frame's slot lies: the first element of its clip in the batch, and which frame it is.
struct ClipPlace {
  void* clip = nullptr;
  std::uint32_t frame = 0, num_frames = 1;
};

/// For frames of one size, format and geometry: a clip has one. Gives the pixels that
/// FrameConverter and collate_clip give, within the pixel contract, in one go.
class PixelPlan {
 public:
  /// `layout` is that of the samples: of frames in device memory, their software format's. Nothing
  /// of the frame is kept. kUnsupported names what only a FrameConverter takes: RGB, packed and odd
  /// formats, ratios beyond the filters.
  static Result<PixelPlan> make(const AVFrame& frame, const PixelLayout& layout,
                                const FrameGeometry& geometry, const TransformOptions& options);

  /// The filters; a copy of them lies where the device reads.
  [[nodiscard]] std::span<const std::byte> tables() const { return tables_; }

  /// One job, three for yuv420. `tables` and `values` (of `value_tables`, null for uint8) are where
  /// the device has them; the frame's planes are the device's.
  [[nodiscard]] std::vector<PixelJob> jobs(const AVFrame& frame, const std::byte* tables,
                                           const void* values, const ClipPlace& place) const;

 private:
  struct Filter {
    std::size_t first = 0, weights = 0;  // offsets in the tables
    std::int32_t count = 0;
  };
  struct Input {
    int plane = 0;
    std::ptrdiff_t rows = 0, bytes = 0;  // to the first sample: rows down, bytes along
    std::int32_t step = 1, wide = 0, shift = 0;
    Filter along, down;
  };
  struct Part {
    PixelJob job;  // without addresses
    std::vector<Input> inputs;
    std::int64_t at = 0;  // elements from the slot to the part
  };

  Result<void> add_part(const AVFrame& frame, const PixelLayout& layout, int first,
                        const AffineMap& map, const FrameGeometry& geometry, Part part,
                        std::uint32_t half);
  Filter add_filter(std::uint32_t from, std::uint32_t to, double left, double size, bool reversed);

  std::vector<Part> parts_;
  std::vector<std::byte> tables_;
  std::int64_t frame_step_ = 0;  // elements between frames of a clip
  Layout layout_ = Layout::kThwc;
};

}  // namespace shardreel
