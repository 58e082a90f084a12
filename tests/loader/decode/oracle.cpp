#include "tests/loader/decode/oracle.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include "tests/support/scratch.h"

extern "C" {
#include <libavutil/hash.h>
#include <libavutil/imgutils.h>
}

namespace shardreel::testing {
namespace {

class HashSink final : public FrameSink {
 public:
  explicit HashSink(Decoded& decoded) : decoded_(decoded) {}
  Result<void> frame(const AVFrame& frame, const WantedFrame& wanted, bool corrupt) override {
    const std::string hash = frame_hash(frame);
    const auto [at, added] = decoded_.frames.emplace(wanted.frame, hash);
    if (!added && at->second != hash) ++decoded_.repeated;
    decoded_.corrupt[wanted.frame] |= corrupt;
    return {};
  }

 private:
  Decoded& decoded_;
};

class StringSource final : public RandomAccess {
 public:
  explicit StringSource(std::string bytes) : bytes_(std::move(bytes)) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return bytes_.size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset >= bytes_.size()) return std::size_t{0};
    const std::size_t count = std::min<std::size_t>(into.size(), bytes_.size() - offset);
    std::memcpy(into.data(), bytes_.data() + offset, count);
    return count;
  }

 private:
  std::string bytes_;
};

}  // namespace

std::shared_ptr<const RandomAccess> bytes_in_memory(std::string bytes) {
  return std::make_shared<const StringSource>(std::move(bytes));
}

std::shared_ptr<const RandomAccess> file_in_memory(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return bytes_in_memory({std::istreambuf_iterator<char>(file), {}});
}

std::string frame_hash(const AVFrame& frame) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const int size = av_image_get_buffer_size(format, frame.width, frame.height, 1);
  if (size < 0) throw std::runtime_error("frame without pixels");
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(size));
  av_image_copy_to_buffer(pixels.data(), size, frame.data, frame.linesize, format, frame.width,
                          frame.height, 1);
  AVHashContext* hash = nullptr;
  av_hash_alloc(&hash, "murmur3");
  av_hash_init(hash);
  av_hash_update(hash, pixels.data(), pixels.size());
  std::array<std::uint8_t, AV_HASH_MAX_SIZE * 2 + 1> text{};
  av_hash_final_hex(hash, text.data(), static_cast<int>(text.size()));
  av_hash_freep(&hash);
  return reinterpret_cast<const char*>(text.data());
}

std::vector<std::string> oracle_frames(const std::string& path, long at_most) {
  ScratchDir scratch;
  const std::string out = scratch / "frames.txt";
  const auto video = open_video(path);
  const std::string stream = video ? std::to_string(video->facts().stream_number) : "V:0";
  // ffmpeg's status is not checked: a damaged file ends with an error after the frames it has.
  run_command(fmt::format(
      "ffmpeg -nostdin -v quiet -noautorotate -threads 1 -i '{}' -map 0:{} -autoscale 0 -vsync "
      "passthrough {} -c:v rawvideo -f framehash -hash murmur3 {} || true",
      path, stream, at_most < 0 ? "" : fmt::format("-frames:v {}", at_most), out));
  std::vector<std::string> hashes;
  std::ifstream file(out);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::string hash = line.substr(line.rfind(',') + 1);
    hash.erase(0, hash.find_first_not_of(' '));
    hashes.push_back(hash);
  }
  return hashes;
}

std::vector<Window> dense_windows(std::int64_t count, std::int64_t length, std::int64_t stride) {
  std::vector<Window> windows;
  for (std::int64_t begin = 0; begin < count; begin += stride) {
    Window window{static_cast<std::uint64_t>(windows.size()), {}};
    for (std::int64_t f = begin; f < std::min(count, begin + length); ++f)
      window.frames.push_back(f);
    windows.push_back(std::move(window));
  }
  return windows;
}

Decoded decode_windows(VideoFile& video, std::vector<Window> windows, VideoDecoder& decoder,
                       bool streaming, bool split) {
  Decoded decoded;
  HashSink sink(decoded);
  std::size_t planned = video.plan_units(std::move(windows));
  std::size_t unsplit = 1;
  for (;;) {
    if (split && --unsplit == 0) {
      unsplit = video.split_next(UINT64_MAX);
      planned += unsplit - 1;
    }
    decoded.promised_bytes = video.outline_next().packet_bytes();
    auto unit = video.next_unit(streaming);
    if (!unit) {
      decoded.failures.push_back(unit.error().describe());
      break;
    }
    if (!*unit) break;
    ++decoded.units;
    for (const Window& window : (*unit)->windows) decoded.window_ordinals.push_back(window.ordinal);
    if (!streaming && (*unit)->packet_bytes != decoded.promised_bytes)
      decoded.failures.push_back("a unit's bytes are not what was promised");
    decoded.packet_bytes += (*unit)->packet_bytes;
    auto report = decoder.decode(**unit, sink, std::stop_token());
    if (!report) {
      decoded.failures.push_back(report.error().describe());
      continue;
    }
    decoded.total.frames_decoded += report->frames_decoded;
    decoded.total.frames_wanted += report->frames_wanted;
    decoded.total.packets += report->packets;
    decoded.total.errors += report->errors;
    if (!decoded.total.first_error) decoded.total.first_error = report->first_error;
    decoded.reused += report->contexts_reused ? 1 : 0;
    decoded.decoder_bytes = std::max(decoded.decoder_bytes, (*unit)->plan.decoder_bytes);
    decoded.peak_frame_bytes = std::max(decoded.peak_frame_bytes, decoder.peak_frame_bytes());
  }
  if (decoded.failures.empty() && decoded.units != planned)
    decoded.failures.push_back("the number of units is not what was planned");
  return decoded;
}

void expect_equals_oracle(const std::string& path, std::size_t skipped_at_start) {
  SCOPED_TRACE(path);
  auto expected = oracle_frames(path);
  ASSERT_GT(expected.size(), skipped_at_start);
  expected.erase(expected.begin(), expected.begin() + static_cast<long>(skipped_at_start));
  const auto decoder = make_cpu_decoder();
  for (const bool streaming : {false, true}) {
    auto video = open_video(path);
    ASSERT_TRUE(video) << video.error().describe();
    ASSERT_EQ(static_cast<std::size_t>(video->facts().frame_count), expected.size());
    auto windows = dense_windows(video->facts().frame_count, 5, streaming ? 35 : 5);
    std::size_t frames = 0, wrong = 0;
    for (const Window& window : windows) frames += window.frames.size();
    const auto got = decode_windows(*video, std::move(windows), *decoder, streaming);
    EXPECT_TRUE(got.failures.empty()) << got.failures.front();
    EXPECT_EQ(got.frames.size(), frames);
    for (const auto& [frame, hash] : got.frames)
      wrong += hash != expected[static_cast<std::size_t>(frame)];
    EXPECT_EQ(wrong, 0u);
    const auto& times = video->facts().pts_seconds;
    EXPECT_TRUE(times.empty() || times.size() == expected.size());
    EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
  }
}

Result<VideoFile> open_video(const std::string& path, bool selective, std::uint32_t unit_clips) {
  VideoFileOptions options;
  const std::string extension = std::filesystem::path(path).extension().string();
  options.field = extension.empty() ? "" : extension.substr(1);
  options.selective = selective;
  options.unit_clips = unit_clips;
  return VideoFile::open(file_in_memory(path), options);
}

}  // namespace shardreel::testing
