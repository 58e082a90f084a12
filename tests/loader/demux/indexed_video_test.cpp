// A video opened from its records against the same video opened as ever: the same facts, units and
// pixels, and nothing read but what a unit needs.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>

#include "loader/demux/describe_video.h"
#include "loader/demux/stream_record.h"
#include "loader/demux/unit_packets.h"
#include "tests/loader/decode/oracle.h"
#include "tests/loader/demux/index_clips.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

class CountingSource final : public RandomAccess {
 public:
  explicit CountingSource(std::shared_ptr<const RandomAccess> of) : of_(std::move(of)) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return of_->size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    auto got = of_->read_at(offset, into);
    if (got) bytes += *got;
    return got;
  }
  mutable std::atomic<std::uint64_t> bytes = 0;

 private:
  std::shared_ptr<const RandomAccess> of_;
};

void expect_same_facts(const VideoFacts& x, const VideoFacts& y) {
  EXPECT_EQ(x.codec, y.codec);
  EXPECT_EQ(x.container, y.container);
  EXPECT_EQ(x.width, y.width);
  EXPECT_EQ(x.height, y.height);
  EXPECT_EQ(x.frame_count, y.frame_count);
  EXPECT_EQ(x.pts_seconds, y.pts_seconds);
  EXPECT_EQ(x.end_seconds, y.end_seconds);
  EXPECT_EQ(x.average_fps, y.average_fps);
  EXPECT_EQ(x.packets, y.packets);
  EXPECT_EQ(x.keyframes, y.keyframes);
  EXPECT_EQ(x.by_count, y.by_count);
  EXPECT_EQ(x.probed, y.probed);
}

void expect_same_parameters(const VideoFile& a, const VideoFile& b) {
  const StreamParameters &p = *a.parameters(), &q = *b.parameters();
  EXPECT_EQ(p.quarter_turns, q.quarter_turns);
  EXPECT_EQ(p.mirror, q.mirror);
  EXPECT_EQ(p.recyclable, q.recyclable);
  EXPECT_EQ(p.codec->video_delay, q.codec->video_delay);
  EXPECT_EQ(p.codec->extradata_size, q.codec->extradata_size);
}

std::vector<Window> random_windows(std::int64_t frames, std::mt19937_64& random) {
  std::vector<Window> windows(1 + random() % 3);
  std::vector<std::int64_t> starts;
  for (std::size_t i = 0; i < windows.size(); ++i)
    starts.push_back(static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(frames)));
  std::sort(starts.begin(), starts.end());
  const auto step = static_cast<std::int64_t>(1 + random() % 3);
  for (std::size_t i = 0; i < windows.size(); ++i) {
    windows[i].ordinal = i;
    for (std::int64_t f = 0; f < 8; ++f)
      windows[i].frames.push_back(std::min(starts[i] + f * step, frames - 1));
  }
  return windows;
}

void expect_same_clips(const std::string& path, const VideoDescription& described,
                       std::mt19937_64& random, std::uint64_t windows_count) {
  const auto source = std::make_shared<CountingSource>(file_in_memory(path));
  const VideoFileOptions options{.field = extension_of(path),
                                 .unit_clips = static_cast<std::uint32_t>(1 + random() % 3)};
  // One each: what a decoder did before decides whether a damaged unit is decoded twice.
  const auto decoder = make_cpu_decoder(), other_decoder = make_cpu_decoder();
  for (std::uint64_t i = 0; i < windows_count; ++i) {
    auto plain = VideoFile::open(source, options);
    ASSERT_TRUE(plain) << plain.error().describe();
    source->bytes = 0;
    auto indexed = VideoFile::open_indexed(source, described.record, described.packets, options);
    ASSERT_TRUE(indexed) << indexed.error().describe();
    EXPECT_EQ(indexed->facts().indexed, described.record.direct);
    if (described.record.direct) {
      EXPECT_EQ(source->bytes, 0u);
    }
    expect_same_facts(plain->facts(), indexed->facts());
    expect_same_parameters(*plain, *indexed);
    auto facts = indexed_facts(described.record, described.packets);
    ASSERT_TRUE(facts) << facts.error().describe();
    expect_same_facts(plain->facts(), *facts);
    const bool streaming = random() % 3 == 0;
    const auto windows = random_windows(plain->facts().frame_count, random);
    const Decoded a = decode_windows(*plain, windows, *decoder, streaming);
    source->bytes = 0;
    const Decoded b = decode_windows(*indexed, windows, *other_decoder, streaming);
    EXPECT_EQ(a.frames, b.frames);
    EXPECT_EQ(a.corrupt, b.corrupt);
    EXPECT_EQ(a.units, b.units);
    EXPECT_EQ(a.window_ordinals, b.window_ordinals);
    EXPECT_EQ(a.packet_bytes, b.packet_bytes);
    EXPECT_EQ(a.failures, b.failures);
    EXPECT_EQ(a.total.packets, b.total.packets);
    EXPECT_EQ(a.total.errors, b.total.errors);
    EXPECT_EQ(a.total.frames_decoded, b.total.frames_decoded);
  }
}

TEST(IndexedVideo, OwnClipsAreTheSame) {
  std::mt19937_64 random(test_seed());
  for (const IndexClip& clip : index_clips()) {
    SCOPED_TRACE(clip.name);
    auto described = describe_file(clip.path);
    ASSERT_TRUE(described);
    expect_same_clips(clip.path, *described, random, rounds(100));
  }
}

TEST(IndexedVideo, SharedVideosAreTheSame) {
  const auto videos = shared_videos();
  if (videos.empty()) GTEST_SKIP() << "the shared media are not here";
  std::mt19937_64 random(test_seed());
  for (const SharedVideo& video : videos) {
    SCOPED_TRACE(video.name);
    auto described = describe_file(video.path);
    if (!described) continue;
    expect_same_clips(video.path, *described, random, rounds(8));
  }
}

TEST(IndexedVideo, ReadsOnlyWhatAUnitNeeds) {
  std::mt19937_64 random(test_seed());
  for (const IndexClip& clip : index_clips()) {
    SCOPED_TRACE(clip.name);
    if (!clip.direct) continue;
    auto described = describe_file(clip.path);
    ASSERT_TRUE(described);
    for (const bool streaming : {false, true}) {
      const auto source = std::make_shared<CountingSource>(file_in_memory(clip.path));
      auto video = VideoFile::open_indexed(source, described->record, described->packets, {});
      ASSERT_TRUE(video);
      video->plan_units(random_windows(described->record.frame_count, random));
      std::uint64_t needed = 0;
      const AVPacketPtr packet(av_packet_alloc());
      for (;;) {
        auto unit = video->next_unit(streaming);
        ASSERT_TRUE(unit);
        if (!*unit) break;
        for (;;) {
          const PacketScope scope(*packet);
          auto got = (*unit)->packets->next(*packet);
          ASSERT_TRUE(got);
          if (!*got) break;
          needed += static_cast<std::uint64_t>(packet->size);
        }
      }
      EXPECT_GT(source->bytes, 0u);
      EXPECT_LE(source->bytes, needed * 103 / 100);
    }
  }
}

TEST(IndexedVideo, RecordsThatContradictThemselvesAreErrors) {
  const std::string path = index_clips().front().path;
  auto described = describe_file(path);
  ASSERT_TRUE(described);
  const auto source = file_in_memory(path);
  const auto refused = [&](auto&& change) {
    VideoRecord record = described->record;
    std::vector<PacketRecord> packets = described->packets;
    change(record, packets);
    auto video = VideoFile::open_indexed(source, record, packets, {});
    ASSERT_FALSE(video);
    EXPECT_EQ(video.error().code, ErrorCode::kCorruptArchive) << video.error().message;
  };
  using Packets = std::vector<PacketRecord>;
  refused([](VideoRecord&, Packets& packets) { packets.pop_back(); });
  refused([](VideoRecord& record, Packets& packets) {
    packets.clear();
    record.packet_count = 0;
  });
  refused([&](VideoRecord&, Packets& packets) { packets[3].offset = source->size(); });
  refused([&](VideoRecord&, Packets& packets) { packets[3].offset = UINT64_MAX; });
  refused([&](VideoRecord&, Packets& packets) { packets[3].size = UINT32_MAX; });
  refused([&](VideoRecord&, Packets& packets) { packets[3].size = 0; });
  refused([&](VideoRecord&, Packets& packets) { packets[3].flags |= 1u << 31; });
  refused([&](VideoRecord& record, Packets&) { record.frame_count += 1; });
  refused([&](VideoRecord& record, Packets&) { record.codec = "hevc"; });
  refused([&](VideoRecord& record, Packets&) { record.codec_parameters.clear(); });
}

TEST(IndexedVideo, ASourceThatEndsEarlyIsAnError) {
  const std::string path = index_clips().front().path;
  auto described = describe_file(path);
  ASSERT_TRUE(described);
  class Shrinking final : public RandomAccess {
   public:
    explicit Shrinking(std::shared_ptr<const RandomAccess> of) : of_(std::move(of)) {}
    [[nodiscard]] std::uint64_t size() const noexcept override { return of_->size(); }
    Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
      const std::uint64_t end = of_->size() / 2;
      if (offset >= end) return std::size_t{0};
      return of_->read_at(offset, into.first(std::min<std::size_t>(into.size(), end - offset)));
    }

   private:
    std::shared_ptr<const RandomAccess> of_;
  };
  auto video = VideoFile::open_indexed(std::make_shared<Shrinking>(file_in_memory(path)),
                                       described->record, described->packets, {.field = "mp4"});
  ASSERT_TRUE(video);
  video->plan_units(dense_windows(50, 50, 50));
  auto unit = video->next_unit(false);
  ASSERT_FALSE(unit);
  EXPECT_EQ(unit.error().code, ErrorCode::kTruncated);
  EXPECT_NE(unit.error().message.find("by the index"), std::string::npos) << unit.error().message;
}

TEST(StreamRecordBytes, AnyBytesAreARecordOrAnError) {
  std::mt19937_64 random(test_seed());
  for (const IndexClip& clip : index_clips()) {
    SCOPED_TRACE(clip.name);
    auto described = describe_file(clip.path);
    ASSERT_TRUE(described);
    const std::string& good = described->record.codec_parameters;
    auto parsed = parse_stream_record(good);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(write_stream_record(*parsed), good);
    for (std::size_t size = 0; size < good.size(); ++size)
      EXPECT_FALSE(parse_stream_record(std::string_view(good).substr(0, size))) << size;
    EXPECT_FALSE(parse_stream_record(good + '\0'));
    const auto source = file_in_memory(clip.path);
    std::uint64_t accepted = 0;
    for (std::uint64_t i = 0; i < rounds(20000); ++i) {
      VideoDescription changed = *described;
      std::string& bytes = changed.record.codec_parameters;
      for (std::uint64_t flips = 1 + random() % 3; flips > 0; --flips)
        bytes[random() % bytes.size()] ^= static_cast<char>(1 + random() % 255);
      auto video = VideoFile::open_indexed(source, changed.record, changed.packets, {});
      if (!video || ++accepted % 50 != 0) continue;
      // What passes for a record must not harm a decoder either.
      const auto decoder = make_cpu_decoder();
      decode_windows(*video, dense_windows(20, 10, 10), *decoder);
    }
    EXPECT_GT(accepted, 0u);
  }
}

// With these two changes FFmpeg's decoder once wrote beyond its frames.
TEST(StreamRecordBytes, DepthsOfAnIndexAreNotBelieved) {
  const auto clips = index_clips();
  const auto clip = std::find_if(clips.begin(), clips.end(), [](const IndexClip& candidate) {
    return candidate.name == "mpeg4_avi";
  });
  ASSERT_NE(clip, clips.end());
  auto described = describe_file(clip->path);
  ASSERT_TRUE(described);
  auto parsed = parse_stream_record(described->record.codec_parameters);
  ASSERT_TRUE(parsed) << parsed.error().message;
  ASSERT_GT(parsed->codec->extradata_size, 1);
  parsed->codec->extradata[1] = 0x4a;
  const auto frames = [&](int depth) {
    parsed->codec->bits_per_raw_sample = depth;
    VideoDescription changed = *described;
    changed.record.codec_parameters = write_stream_record(*parsed);
    auto video =
        VideoFile::open_indexed(file_in_memory(clip->path), changed.record, changed.packets, {});
    const auto decoder = make_cpu_decoder();
    return decode_windows(video.value(), dense_windows(20, 10, 10), *decoder).frames;
  };
  const auto expected = frames(0);
  EXPECT_EQ(expected.size(), 20U);
  for (const int depth : {9, 10, 12, 14, 16}) EXPECT_EQ(frames(depth), expected) << depth;
}

}  // namespace
}  // namespace shardreel::testing
