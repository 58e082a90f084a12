#include "tools/pack/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "loader/decode/video_decoder.h"
#include "loader/demux/describe_video.h"
#include "loader/demux/video_file.h"
#include "tools/pack/truncation.h"

namespace shardreel::tools {
namespace {

constexpr std::array<std::pair<std::string_view, CheckLevel>, 3> kLevels{
    {{"none", CheckLevel::kNone}, {"open", CheckLevel::kOpen}, {"decode", CheckLevel::kDecode}}};

Error refused(ErrorCode code, std::string message) {
  return Error{code, std::move(message), {}, {}, {}};
}

/// Counts what comes out; no pixel is kept.
class CountingSink final : public FrameSink {
 public:
  Result<void> frame(const AVFrame&, const WantedFrame&, bool corrupt) override {
    ++frames;
    damaged += corrupt ? 1 : 0;
    return {};
  }
  std::int64_t frames = 0, damaged = 0;
};

/// One window for each frame: units are then whole groups of pictures, decoded once.
std::vector<Window> every_frame(std::int64_t count) {
  std::vector<Window> windows;
  for (std::int64_t frame = 0; frame < count; ++frame) {
    windows.push_back({static_cast<std::uint64_t>(frame), {frame}});
  }
  return windows;
}

}  // namespace

std::optional<CheckLevel> parse_check_level(std::string_view text) {
  for (const auto& [name, level] : kLevels) {
    if (name == text) return level;
  }
  return std::nullopt;
}

std::string_view to_string(CheckLevel level) noexcept {
  for (const auto& [name, one] : kLevels) {
    if (one == level) return name;
  }
  return "none";
}

Result<std::optional<VideoSummary>> check_video(std::shared_ptr<const RandomAccess> content,
                                                const std::string& field, CheckLevel level,
                                                const std::stop_token& stop) {
  if (content->size() == 0) return refused(ErrorCode::kNotMedia, "the file is empty (0 bytes)");
  std::byte first{};
  if (const auto readable = content->read_at(0, {&first, 1}); !readable) return readable.error();
  if (level == CheckLevel::kNone) return std::optional<VideoSummary>();

  const auto missing = find_truncation(*content);
  if (!missing) return missing.error();
  auto described = describe_video(content, field);
  if (*missing) return refused(ErrorCode::kTruncated, **missing);
  if (!described) return std::move(described.error());
  const VideoRecord& record = described->record;
  if (record.frame_count <= 0) {
    return refused(ErrorCode::kNoVideoStream, "the video stream has no frames");
  }
  if (level == CheckLevel::kDecode) {
    if (auto whole = decode_every_frame(content, field, stop); !whole) {
      return std::move(whole.error());
    }
  }
  return std::optional(VideoSummary{record.codec, record.display_width, record.display_height,
                                    static_cast<std::uint64_t>(record.frame_count),
                                    std::max(record.duration_seconds, 0.0)});
}

Result<void> decode_every_frame(std::shared_ptr<const RandomAccess> content,
                                const std::string& field, const std::stop_token& stop) {
  auto video = VideoFile::open(std::move(content),
                               {.field = field, .selective = false, .unit_clips = UINT32_MAX});
  if (!video) return std::move(video.error());
  const std::int64_t expected = video->facts().frame_count;
  video->plan_units(every_frame(expected));
  const auto decoder = make_cpu_decoder();
  CountingSink sink;
  std::uint64_t errors = 0;
  std::optional<Error> first_error;
  for (;;) {
    // Streaming: a group of pictures of any length takes no more memory than its decoder.
    auto unit = video->next_unit(true);
    if (!unit) return std::move(unit.error());
    if (!*unit) break;
    const auto report = decoder->decode(**unit, sink, stop);
    if (!report) return report.error();
    errors += report->errors;
    if (!first_error) first_error = report->first_error;
  }
  if (sink.frames == expected && sink.damaged == 0 && errors == 0) return {};
  return refused(
      ErrorCode::kDecodeError,
      fmt::format("{} of {} frames decode, {} of them damaged; {} errors{}", sink.frames, expected,
                  sink.damaged, errors, first_error ? ", the first: " + first_error->message : ""));
}

}  // namespace shardreel::tools
