#include "tools/commands/sample_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "loader/decode/video_decoder.h"
#include "loader/decode/video_pictures.h"
#include "loader/demux/describe_video.h"
#include "loader/demux/video_file.h"

namespace shardreel::tools {
namespace {

constexpr unsigned kBackground = 0x202020, kNotShown = 0x600000;

Error bad_choice(std::string message) {
  return {ErrorCode::kInvalidOption, std::move(message), {}, {}, {}};
}

Result<VideoFile> open_video(const Sample& sample, const Field& field) {
  VideoFileOptions options;
  options.field = field.name;
  auto video = VideoFile::open(field.content, options);
  if (!video) video.error().at(sample.shard, sample.key, field.offset);
  return video;
}

/// Size of the picture as shown, before and after it is made to fit.
struct Size {
  std::uint32_t width = 0, height = 0;
};

Result<Size> display_size(const Sample& sample, const Field& field, SampleAspect aspect) {
  constexpr std::uint64_t kMostPixels = std::uint64_t{1} << 28;
  auto described = describe_video(field.content, field.name);
  if (!described) return std::move(described.error().at(sample.shard, sample.key, field.offset));
  const VideoRecord& record = described->record;
  Size size{record.display_width, record.display_height};
  if (aspect == SampleAspect::kIgnore) {
    size = {record.coded_width, record.coded_height};
    if (record.quarter_turns % 2 != 0) std::swap(size.width, size.height);
  }
  if (size.width == 0 || size.height == 0)
    return Error{ErrorCode::kUnsupported, "the video does not tell its size", sample.shard,
                 sample.key, field.offset};
  if (std::uint64_t{size.width} * size.height > kMostPixels)
    return Error{
        ErrorCode::kUnsupported,
        fmt::format("shown as {}x{}, more than {} pixels", size.width, size.height, kMostPixels),
        sample.shard, sample.key, field.offset};
  return size;
}

Size fitted(Size of, std::uint32_t width, std::uint32_t height) {
  const double scale =
      std::min(static_cast<double>(width) / of.width, static_cast<double>(height) / of.height);
  const auto side = [scale](std::uint32_t length, std::uint32_t most) {
    return std::clamp(static_cast<std::uint32_t>(std::lround(length * scale)), 1U, most);
  };
  return {side(of.width, width), side(of.height, height)};
}

/// Seconds from the first frame to each; empty where the video has no times.
std::vector<double> times_from_first(const VideoFacts& facts) {
  std::vector<double> times = facts.pts_seconds;
  for (std::size_t i = times.size(); i-- > 0;) times[i] -= times[0];
  return times;
}

Result<std::int64_t> frame_of(const VideoFacts& facts, const FrameChoice& choice) {
  if (const auto* number = std::get_if<std::int64_t>(&choice)) {
    if (*number < facts.frame_count) return *number;
    return bad_choice(fmt::format("frame {} of a video of {} frames (0 to {})", *number,
                                  facts.frame_count, facts.frame_count - 1));
  }
  const double seconds = std::get<double>(choice);
  const std::vector<double> times = times_from_first(facts);
  const double end =
      times.empty() ? static_cast<double>(facts.frame_count) / std::max(facts.average_fps, 1e-9)
                    : facts.end_seconds - facts.pts_seconds[0];
  if (times.empty() && facts.average_fps <= 0)
    return bad_choice("the video's frames have no times; give a frame's number");
  if (seconds >= end && !(seconds == 0 && facts.frame_count > 0))
    return bad_choice(fmt::format("{} s is behind the end of a video of {:.3f} s", seconds, end));
  if (times.empty())
    return std::min(static_cast<std::int64_t>(seconds * facts.average_fps), facts.frame_count - 1);
  // Times are rounded fractions: 1/30 asked for in decimals must not miss its frame.
  const auto behind = std::upper_bound(times.begin(), times.end(), seconds + 1e-6);
  return std::max<std::int64_t>(behind - times.begin() - 1, 0);
}

}  // namespace

Result<FrameChoice> parse_frame_choice(const std::string& text) {
  const char* begin = text.data();
  const char* end = begin + text.size();
  if (text.ends_with('s')) {
    double seconds = 0;
    const auto [at, failed] = std::from_chars(begin, end - 1, seconds);
    if (failed == std::errc() && at == end - 1 && std::isfinite(seconds) && seconds >= 0)
      return FrameChoice(seconds);
  } else {
    std::int64_t number = 0;
    const auto [at, failed] = std::from_chars(begin, end, number);
    if (failed == std::errc() && at == end && number >= 0) return FrameChoice(number);
  }
  return bad_choice(fmt::format("'{}' is neither a frame's number (37) nor a time (1.5s)", text));
}

Result<ShownPicture> show_frame(const Sample& sample, const Field& field, const FrameChoice& choice,
                                SampleAspect aspect, const std::stop_token& stop) {
  const auto place = [&](Error error) {
    return std::move(error.at(sample.shard, sample.key, field.offset));
  };
  const auto size = display_size(sample, field, aspect);
  if (!size) return size.error();
  auto video = open_video(sample, field);
  if (!video) return std::move(video.error());
  const auto frame = frame_of(video->facts(), choice);
  if (!frame) return place(frame.error());
  const auto decoder = make_cpu_decoder();
  auto pictures = decode_pictures(*video, {*frame}, size->width, size->height, *decoder, stop);
  if (!pictures) return place(std::move(pictures.error()));
  FramePicture& picture = pictures->front();
  if (picture.rgb.empty())
    return place(Error{ErrorCode::kDecodeError,
                       fmt::format("frame {} did not come out of the decoder", *frame),
                       {},
                       {},
                       {}});
  const auto times = times_from_first(video->facts());
  return ShownPicture{picture.width,
                      picture.height,
                      std::move(picture.rgb),
                      *frame,
                      times.empty() ? 0 : times[static_cast<std::size_t>(*frame)],
                      picture.corrupt};
}

void ContactSheet::fill(std::uint32_t x, std::uint32_t y, std::uint32_t w, std::uint32_t h,
                        unsigned color) {
  const auto component = [color](unsigned shift) {
    return static_cast<std::byte>((color >> shift) & 0xFF);
  };
  for (std::uint32_t row = y; row < y + h; ++row) {
    std::byte* to = rgb_.data() + (std::size_t{row} * width() + x) * 3;
    for (std::uint32_t i = 0; i < w; ++i, to += 3) {
      to[0] = component(16);
      to[1] = component(8);
      to[2] = component(0);
    }
  }
}

Result<void> ContactSheet::add(const Sample& sample, const Field* field,
                               const std::stop_token& stop) {
  const std::uint32_t top = rows_ == 0 ? kGap : height();
  const std::uint32_t begin = rows_ == 0 ? 0 : top;
  ++rows_;
  rgb_.resize(std::size_t{width()} * height() * 3);
  fill(0, begin, width(), height() - begin, kBackground);
  const auto red = [&](Error error) {
    for (std::uint32_t i = 0; i < columns_; ++i)
      fill(kGap + i * (kCellWidth + kGap), top, kCellWidth, kCellHeight, kNotShown);
    return error;
  };
  if (field == nullptr)
    return red(
        Error{ErrorCode::kNoVideo, "no video field", sample.shard, sample.key, sample.offset});
  const auto shown = display_size(sample, *field, aspect_);
  if (!shown) return red(shown.error());
  auto video = open_video(sample, *field);
  if (!video) return red(std::move(video.error()));
  const std::int64_t count = video->facts().frame_count;
  std::vector<std::int64_t> frames;
  for (std::int64_t i = 0; i < columns_; ++i) {
    const std::int64_t frame = (2 * i + 1) * count / (2 * std::int64_t{columns_});
    if (frames.empty() || frames.back() < frame) frames.push_back(frame);
  }
  const Size cell = fitted(*shown, kCellWidth, kCellHeight);
  const auto decoder = make_cpu_decoder();
  auto pictures = decode_pictures(*video, frames, cell.width, cell.height, *decoder, stop);
  if (!pictures)
    return red(std::move(pictures.error().at(sample.shard, sample.key, field->offset)));
  std::size_t missing = 0;
  for (std::size_t i = 0; i < pictures->size(); ++i) {
    const FramePicture& picture = (*pictures)[i];
    const auto column = static_cast<std::uint32_t>(i);
    const std::uint32_t left = kGap + column * (kCellWidth + kGap);
    if (picture.rgb.empty()) {
      ++missing;
      fill(left, top, kCellWidth, kCellHeight, kNotShown);
      continue;
    }
    const std::uint32_t x = left + (kCellWidth - cell.width) / 2;
    const std::uint32_t y = top + (kCellHeight - cell.height) / 2;
    for (std::uint32_t row = 0; row < cell.height; ++row) {
      std::memcpy(rgb_.data() + (std::size_t{y + row} * width() + x) * 3,
                  picture.rgb.data() + std::size_t{row} * cell.width * 3,
                  std::size_t{cell.width} * 3);
    }
  }
  if (missing == 0) return {};
  return Error{
      ErrorCode::kDecodeError,
      fmt::format("{} of {} frames did not come out of the decoder", missing, pictures->size()),
      sample.shard, sample.key, field->offset};
}

}  // namespace shardreel::tools
