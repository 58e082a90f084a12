#include "loader/decode/video_check.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace shardreel {
namespace {

constexpr std::uint64_t kUnitBytes = std::uint64_t{64} << 20;
constexpr std::int64_t kWindowFrames = 16;

/// One bit a frame: broken times may have a decoder show frames in another order than expected.
class CountingSink final : public FrameSink {
 public:
  explicit CountingSink(std::int64_t count) : given_(static_cast<std::size_t>(count)) {}
  Result<void> frame(const AVFrame& /*frame*/, const WantedFrame& wanted, bool corrupt) override {
    given_[static_cast<std::size_t>(wanted.frame)] = true;
    if (corrupt) {
      ++check_.frames_corrupt;
      note(wanted.frame);
    }
    return {};
  }
  VideoCheck finish() {
    for (std::size_t frame = 0; frame < given_.size(); ++frame) {
      if (given_[frame]) continue;
      ++check_.frames_missing;
      note(static_cast<std::int64_t>(frame));
    }
    return check_;
  }

 private:
  void note(std::int64_t frame) {
    const std::int64_t first = check_.first_bad_frame;
    check_.first_bad_frame = first < 0 ? frame : std::min(first, frame);
  }

  std::vector<bool> given_;
  VideoCheck check_;
};

}  // namespace

Result<VideoCheck> check_video(VideoFile& video, VideoDecoder& decoder,
                               const std::stop_token& stop) {
  const std::int64_t count = video.facts().frame_count;
  std::vector<Window> windows;
  for (std::int64_t begin = 0; begin < count; begin += kWindowFrames) {
    Window window{static_cast<std::uint64_t>(windows.size()), {}};
    for (std::int64_t f = begin; f < std::min(count, begin + kWindowFrames); ++f)
      window.frames.push_back(f);
    windows.push_back(std::move(window));
  }
  CountingSink sink(count);
  std::uint64_t errors = 0;
  std::optional<Error> first_error;
  video.plan_units(std::move(windows));
  for (;;) {
    auto unit = video.next_unit(video.outline_next().packet_bytes() > kUnitBytes);
    if (!unit) return std::move(unit.error());
    if (!*unit) break;
    auto report = decoder.decode(**unit, sink, stop);
    if (!report) return std::move(report.error());
    errors += report->errors;
    if (!first_error) first_error = std::move(report->first_error);
  }
  VideoCheck check = sink.finish();
  check.frames = count;
  check.errors = errors;
  check.first_error = std::move(first_error);
  const auto& times = video.facts().pts_seconds;
  if (check.first_bad_frame >= 0 && static_cast<std::size_t>(check.first_bad_frame) < times.size())
    check.first_bad_seconds = times[static_cast<std::size_t>(check.first_bad_frame)] - times[0];
  return check;
}

}  // namespace shardreel
