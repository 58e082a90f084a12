#pragma once
// Pictures of what a sample's video shows.

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "shardreel/options.h"
#include "shardreel/sample.h"

namespace shardreel::tools {

/// A frame by its number in display order, or by time: seconds since the first frame.
using FrameChoice = std::variant<std::int64_t, double>;

/// Parse "37" (a frame) or "1.5s" (a time).
Result<FrameChoice> parse_frame_choice(const std::string& text);

struct ShownPicture {
  std::uint32_t width = 0, height = 0;
  std::vector<std::byte> rgb;  ///< [height, width, 3]
  std::int64_t frame = 0;
  double seconds = 0;  ///< since the first frame; 0 where the video has no times
  bool corrupt = false;
};

/// The frame at its own size, turned and mirrored, its pixels square or in their ratio, as the feed
/// takes them under the same option. By time it is the one that is shown then; a time or number
/// behind the end is kInvalidOption.
Result<ShownPicture> show_frame(const Sample& sample, const Field& video, const FrameChoice& choice,
                                SampleAspect aspect, const std::stop_token& stop);

/// A sheet of thumbnails: one row a sample, `columns` frames spread evenly over its video, each in
/// the middle of its part. All that is drawn is in `rgb`; a video that cannot be shown has a row of
/// dark red.
class ContactSheet {
 public:
  static constexpr std::uint32_t kCellWidth = 160, kCellHeight = 90, kGap = 4;
  ContactSheet(std::uint32_t columns, SampleAspect aspect) : columns_(columns), aspect_(aspect) {}

  /// Add a row; the error says why it is red (the row is there all the same).
  Result<void> add(const Sample& sample, const Field* video, const std::stop_token& stop);

  [[nodiscard]] std::uint32_t rows() const noexcept { return rows_; }
  [[nodiscard]] std::uint32_t width() const noexcept {
    return kGap + columns_ * (kCellWidth + kGap);
  }
  [[nodiscard]] std::uint32_t height() const noexcept {
    return kGap + rows_ * (kCellHeight + kGap);
  }
  [[nodiscard]] const std::vector<std::byte>& rgb() const noexcept { return rgb_; }

 private:
  void fill(std::uint32_t x, std::uint32_t y, std::uint32_t w, std::uint32_t h, unsigned color);
  std::uint32_t columns_, rows_ = 0;
  SampleAspect aspect_;
  std::vector<std::byte> rgb_;
};

}  // namespace shardreel::tools
