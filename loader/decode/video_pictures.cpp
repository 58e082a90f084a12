#include "loader/decode/video_pictures.h"

#include <memory>
#include <optional>
#include <utility>

#include "loader/media/frame_converter.h"
#include "loader/media/frame_geometry.h"

extern "C" {
#include <libavutil/frame.h>
}

namespace shardreel {
namespace {

constexpr std::uint64_t kUnitBytes = std::uint64_t{64} << 20;

class PictureSink final : public FrameSink {
 public:
  PictureSink(const TransformOptions& options, const StreamParameters& parameters,
              std::vector<FramePicture>& pictures)
      : options_(options),
        orientation_{parameters.quarter_turns, parameters.mirror},
        converter_(make_frame_converter(options)),
        pictures_(pictures) {}

  Result<void> frame(const AVFrame& frame, const WantedFrame& wanted, bool corrupt) override {
    for (FramePicture& picture : pictures_) {
      if (picture.frame != wanted.frame) continue;
      picture.corrupt = corrupt;
      picture.rgb.resize(slot_bytes(options_));
      const auto geometry =
          frame_geometry(static_cast<std::uint32_t>(frame.width),
                         static_cast<std::uint32_t>(frame.height), orientation_, options_, {});
      return converter_->convert(frame, geometry, picture.rgb);
    }
    return {};
  }

 private:
  const TransformOptions& options_;
  const Orientation orientation_;
  std::unique_ptr<FrameConverter> converter_;
  std::vector<FramePicture>& pictures_;
};

}  // namespace

Result<std::vector<FramePicture>> decode_pictures(VideoFile& video,
                                                  const std::vector<std::int64_t>& frames,
                                                  std::uint32_t width, std::uint32_t height,
                                                  VideoDecoder& decoder,
                                                  const std::stop_token& stop) {
  TransformOptions options;
  options.width = width;
  options.height = height;
  options.resize_mode = ResizeMode::kStretch;
  std::vector<FramePicture> pictures;
  std::vector<Window> windows;
  for (const std::int64_t frame : frames) {
    pictures.push_back({frame, width, height, {}, false});
    windows.push_back({static_cast<std::uint64_t>(windows.size()), {frame}});
  }
  PictureSink sink(options, *video.parameters(), pictures);
  video.plan_units(std::move(windows));
  for (;;) {
    auto unit = video.next_unit(video.outline_next().packet_bytes() > kUnitBytes);
    if (!unit) return std::move(unit.error());
    if (!*unit) return pictures;
    if (auto report = decoder.decode(**unit, sink, stop); !report) return std::move(report.error());
  }
}

}  // namespace shardreel
