// The facts of a video against what ffprobe says, and the records of its packets against the file.

#include "loader/demux/describe_video.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "loader/demux/demuxer.h"
#include "loader/demux/packet_record.h"
#include "tests/loader/decode/oracle.h"
#include "tests/loader/demux/index_clips.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

using Json = nlohmann::json;

/// Of the stream that is taken; which one that should be is a test of its own.
Json ffprobe(const std::string& path, const std::string& what) {
  const auto video = open_video(path);
  const std::string stream = video ? std::to_string(video->facts().stream_number) : "V:0";
  return Json::parse(run_command(
      fmt::format("ffprobe -v quiet -select_streams {} {} -of json '{}' 2>/dev/null || echo '{{}}'",
                  stream, what, path)));
}

long number(const Json& of, const char* name) {
  if (!of.contains(name)) return -1;
  return of[name].is_string() ? std::stol(of[name].get<std::string>()) : of[name].get<long>();
}

/// Whether each packet that a demuxer gives lies where its record says. Opens the file by itself.
void expect_packets_in_place(const std::string& path, const VideoDescription& described) {
  const auto source = file_in_memory(path);
  auto demuxer = Demuxer::open(source, extension_of(path));
  ASSERT_TRUE(demuxer);
  const AVPacketPtr packet(av_packet_alloc());
  std::vector<std::byte> bytes;
  for (const PacketRecord& record : described.packets) {
    const PacketScope scope(*packet);
    auto got = demuxer->next(*packet);
    ASSERT_TRUE(got && *got);
    bytes.resize(record.size);
    auto read = source->read_at(record.offset, bytes);
    ASSERT_TRUE(read && *read == record.size) << record.offset;
    EXPECT_EQ(record.size, packet->size);
    EXPECT_EQ(record.pts, packet->pts);
    EXPECT_EQ(record.dts, packet->dts);
    ASSERT_EQ(std::memcmp(bytes.data(), packet->data, bytes.size()), 0) << record.offset;
  }
}

void expect_facts(const VideoDescription& described, const std::string& path) {
  const VideoRecord& record = described.record;
  const Json probe = ffprobe(path, "-show_streams -show_entries packet=pts,flags,size");
  ASSERT_TRUE(probe.contains("streams") && !probe["streams"].empty()) << path;
  const Json& stream = probe["streams"][0];
  EXPECT_EQ(record.codec, stream["codec_name"]);
  EXPECT_EQ(record.coded_width, stream["width"]);
  EXPECT_EQ(record.coded_height, stream["height"]);
  EXPECT_EQ(record.pixel_format, stream.value("pix_fmt", ""));
  EXPECT_EQ(record.color_matrix, stream.value("color_space", "unknown"));
  EXPECT_EQ(record.color_range, stream.value("color_range", "unknown"));
  EXPECT_EQ(record.color_primaries, stream.value("color_primaries", "unknown"));
  EXPECT_EQ(record.color_transfer, stream.value("color_transfer", "unknown"));
  unsigned turns = 0;
  for (const Json& side : stream.value("side_data_list", Json::array())) {
    // ffprobe counts degrees anticlockwise.
    if (side.contains("rotation"))
      turns = static_cast<unsigned>((720 - side["rotation"].get<int>()) % 360 / 90);
  }
  if (!record.mirror) {
    EXPECT_EQ(record.quarter_turns, turns);
  }

  double aspect = 1;
  int num = 0, den = 0;
  if (std::sscanf(stream.value("sample_aspect_ratio", "").c_str(), "%d:%d", &num, &den) == 2 &&
      num > 0 && den > 0)
    aspect = static_cast<double>(num) / den;
  const auto width = static_cast<std::uint32_t>(std::llround(record.coded_width * aspect));
  EXPECT_EQ(turns % 2 ? record.display_height : record.display_width, width);
  EXPECT_EQ(turns % 2 ? record.display_width : record.display_height, record.coded_height);

  const Json& packets = probe["packets"];
  EXPECT_EQ(record.packet_count, packets.size());
  ASSERT_EQ(described.packets.size(), record.packet_count);
  std::set<long> keys;
  for (std::size_t i = 0; i < packets.size() && i < described.packets.size(); ++i) {
    EXPECT_EQ(described.packets[i].size, number(packets[i], "size"));
    const std::string flags = packets[i]["flags"];
    if (flags[0] == 'K') keys.insert(number(packets[i], "pts"));
    EXPECT_EQ((described.packets[i].flags >> 10) & 1u, flags[0] == 'K');
    EXPECT_EQ((described.packets[i].flags >> 9) & 1u, flags[1] == 'D');
  }
  for (const KeyframeRecord& key : record.keyframes) {
    // One file is there because its flags are wrong; the packets' own bytes are right.
    if (key.pts != kNoTimestamp && path.find("no_sync_frame_before_edit") == std::string::npos) {
      EXPECT_TRUE(keys.contains(key.pts)) << "no keyframe " << key.pts;
    }
  }
}

TEST(DescribeVideo, OwnClipsAsFfprobeSays) {
  for (const IndexClip& clip : index_clips()) {
    SCOPED_TRACE(clip.name);
    auto described = describe_file(clip.path);
    ASSERT_TRUE(described) << described.error().describe();
    expect_facts(*described, clip.path);
    const VideoRecord& record = described->record;
    EXPECT_EQ(record.direct, clip.direct);
    EXPECT_EQ(record.constant_rate, clip.constant);
    if (record.direct) expect_packets_in_place(clip.path, *described);
    const Json counted =
        ffprobe(clip.path,
                "-count_frames -show_entries "
                "stream=nb_read_frames,avg_frame_rate,duration,r_frame_rate -show_entries "
                "frame=pts,key_frame,best_effort_timestamp");
    const Json& stream = counted["streams"][0];
    EXPECT_EQ(record.frame_count, number(stream, "nb_read_frames"));
    std::set<std::int64_t> keys, expected;
    std::map<std::int64_t, std::int64_t> time_of;
    std::int64_t frame = 0;
    for (const Json& shown : counted["frames"]) {
      time_of[frame++] = number(shown, "pts");
      if (number(shown, "key_frame") == 1) expected.insert(number(shown, "pts"));
    }
    for (const KeyframeRecord& key : record.keyframes) {
      keys.insert(key.pts);
      EXPECT_EQ(time_of[key.frame], key.pts);
    }
    EXPECT_EQ(keys, expected);
    if (clip.constant) {
      EXPECT_EQ(record.frame_rate.numerator, 30);
      EXPECT_EQ(record.frame_rate.denominator, 1);
      EXPECT_NEAR(record.duration_seconds, 50 / 30.0, 0.002);
    }
  }
}

TEST(DescribeVideo, RotationAsFfprobeSays) {
  const std::string plain = index_clips().front().path;
  for (const unsigned turns : {1u, 2u, 3u}) {
    const std::string path =
        make_clip(fmt::format("-i '{}' -c copy -metadata:s:v rotate={}", plain, 90 * turns), "mp4");
    auto described = describe_file(path);
    ASSERT_TRUE(described);
    // The muxer turns the other way than the tag says; ffprobe decides below.
    EXPECT_EQ(described->record.quarter_turns, (4 - turns) % 4);
    EXPECT_EQ(described->record.display_width, turns % 2 ? 144u : 176u);
    expect_facts(*described, path);
  }
}

/// What FFmpeg's own choice is, of streams that were probed as it wants them.
int best_stream(const std::string& path) {
  AVFormatContext* format = nullptr;
  if (avformat_open_input(&format, path.c_str(), nullptr, nullptr) < 0) return -1;
  const AVInputContextPtr owner(format);
  if (avformat_find_stream_info(format, nullptr) < 0) return -1;
  return av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
}

TEST(DescribeVideo, OfSeveralStreamsTheBestIsTaken) {
  const std::string video = "-f lavfi -i testsrc2=s=64x48:r=25:d=2 ";
  const std::string picture = "-f lavfi -i color=red:s=32x32:r=25:d=0.04 ";
  const std::string x264 = "-c:v libx264 -pix_fmt yuv420p ";
  const std::string before = picture + video + "-map 0 -map 1 " + x264;
  const std::string jpeg = before + "-c:v:0 mjpeg -pix_fmt:v:0 yuvj420p ";
  struct Case {
    std::string name, arguments, extension;
    std::uint32_t stream, streams;
    bool picture;  // one of a single frame, which FFmpeg may call the best
  };
  const Case cases[] = {
      {"a picture before the video", jpeg, "mkv", 1, 2, true},
      {"in mp4", jpeg, "mp4", 1, 2, true},
      {"a PNG", before + "-c:v:0 png -pix_fmt:v:0 rgb24", "mkv", 1, 2, true},
      {"of the video's codec", before, "mkv", 1, 2, true},
      {"in MPEG-TS", before, "ts", 1, 2, true},
      {"default in vain", jpeg + "-disposition:v:0 default -disposition:v:1 0", "mkv", 1, 2, true},
      {"behind the video", video + picture + "-map 0 -map 1 " + x264, "mkv", 0, 2, true},
      {"the second is the default",
       video + video + "-map 0 -map 1 " + x264 + "-disposition:v:0 0 -disposition:v:1 default",
       "mkv", 1, 2, false},
      {"the third has the most bits",
       video + "-f lavfi -i testsrc2=s=320x240:r=25:d=2 -map 0 -map 0 -map 1 " + x264 +
           "-b:v:0 20k -b:v:1 20k -crf:v:2 1 -disposition:v 0",
       "mkv", 0, 3, false},
      {"moving JPEG that is the default",
       video + video + "-map 0 -map 1 " + x264 +
           "-c:v:0 mjpeg "
           "-pix_fmt:v:0 yuvj420p",
       "mkv", 0, 2, false},
      {"one alone", video + x264, "mp4", 0, 1, false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const std::string path = make_clip(c.arguments, c.extension);
    if (!c.picture) {
      EXPECT_EQ(best_stream(path), static_cast<int>(c.stream));
    }
    auto described = describe_file(path);
    ASSERT_TRUE(described) << described.error().describe();
    auto opened = open_video(path);
    ASSERT_TRUE(opened);
    auto indexed = indexed_facts(described->record, described->packets);
    ASSERT_TRUE(indexed);
    for (const VideoFacts& facts : {described->facts, opened->facts(), *indexed}) {
      EXPECT_EQ(facts.video_streams, c.streams);
      EXPECT_EQ(facts.stream_number, c.stream);
      EXPECT_EQ(facts.frame_count, 50);
      EXPECT_EQ(facts.width, opened->facts().width);
    }
    if (described->record.direct) expect_packets_in_place(path, *described);
  }
  // Cover art with its flag is no video.
  const std::string art = make_clip(picture + video + "-map 0 -map 1 " + x264 +
                                        "-c:v:0 mjpeg -pix_fmt:v:0 yuvj420p "
                                        "-disposition:v:0 attached_pic -disposition:v:1 0",
                                    "mp4");
  auto opened = open_video(art);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->facts().frame_count, 50);
  EXPECT_EQ(opened->facts().video_streams, 1U);
  EXPECT_FALSE(opened->facts().probed);
}

TEST(DescribeVideo, SampleAspectAsFfprobeSays) {
  const std::string source = "-f lavfi -i testsrc2=s=96x64:r=10:d=1 -c:v libx264 -pix_fmt yuv420p ";
  const std::string square = make_clip(source + "-vf setsar=0", "mp4");
  const std::string bits = "-c copy -bsf:v h264_metadata=sample_aspect_ratio=4/3 ";
  struct Case {
    std::string path, aspect;
    bool container;  // tells it, so that nothing is probed
  };
  const Case cases[] = {
      {make_clip(source + "-vf setsar=4/3", "mp4"), "4:3", true},
      {make_clip(source + "-vf setsar=4/3", "mkv"), "4:3", true},
      {make_clip(source + "-vf setsar=4/3", "ts"), "4:3", false},
      // Told by the codec alone, and by both, which differ.
      {make_clip(fmt::format("-i '{}' {}", square, bits), "mp4"), "4:3", false},
      {make_clip(fmt::format("-i '{}' {} -aspect 3:1", square, bits), "mp4"), "2:1", true},
      {square, "0:1", false},
      {make_clip("-f lavfi -i testsrc2=s=96x64:r=25:d=1 -vf setsar=8/9 -c:v mpeg2video", "mpg"),
       "8:9", false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.path + " " + c.aspect);
    const Json stream = ffprobe(c.path, "-show_streams")["streams"][0];
    const std::string told_there = stream.value("sample_aspect_ratio", "N/A");
    EXPECT_EQ(told_there == "N/A" ? "0:1" : told_there, c.aspect);
    auto described = describe_file(c.path);
    ASSERT_TRUE(described) << described.error().describe();
    expect_facts(*described, c.path);
    VideoFileOptions options{.field = extension_of(c.path), .sample_aspect = true};
    auto opened = VideoFile::open(file_in_memory(c.path), options);
    ASSERT_TRUE(opened);
    auto indexed = VideoFile::open_indexed(file_in_memory(c.path), described->record,
                                           described->packets, options);
    ASSERT_TRUE(indexed);
    for (const VideoFile* file : {&*opened, &*indexed}) {
      const AVRational told = file->parameters()->sample_aspect;
      EXPECT_EQ(fmt::format("{}:{}", told.num, told.den), c.aspect);
      EXPECT_EQ(file->facts().sample_aspect.numerator, told.num);
      EXPECT_EQ(file->facts().frame_count, described->record.frame_count);
      EXPECT_EQ(file->facts().pts_seconds, described->facts.pts_seconds);
    }
    EXPECT_EQ(opened->facts().probed, !c.container);
  }
}

TEST(DescribeVideo, SharedVideosAsFfprobeSays) {
  const auto videos = shared_videos();
  if (videos.empty()) GTEST_SKIP() << "the shared media are not here";
  std::size_t described_count = 0, direct = 0;
  for (const SharedVideo& video : videos) {
    SCOPED_TRACE(video.name);
    auto described = describe_file(video.path);
    auto opened = open_video(video.path);
    ASSERT_EQ(static_cast<bool>(described), static_cast<bool>(opened));
    if (!described) {
      EXPECT_EQ(described.error().message, opened.error().message);
      continue;
    }
    ++described_count;
    direct += described->record.direct ? 1 : 0;
    EXPECT_EQ(described->record.frame_count, opened->facts().frame_count);
    expect_facts(*described, video.path);
    if (described->record.direct) expect_packets_in_place(video.path, *described);
  }
  fmt::print("{} described, {} of them direct\n", described_count, direct);
  EXPECT_GT(direct * 2, described_count);
}

TEST(PacketRecordFlags, SurviveAndRefuseWhatNoneHas) {
  PacketEntry entry{-5, kNoTime, 77, true, true, {}};
  entry.traits.start = RandomAccessPoint::kOpen;
  entry.traits.bottom = entry.traits.packed = true;
  entry.traits.shown = 8;
  entry.traits.temporal_layer = 6;
  const PacketRecord record = packet_record(entry, 1234);
  EXPECT_EQ(record.offset, 1234u);
  EXPECT_EQ(record.flags, 1u | 1u << 7 | 1u << 8 | 1u << 9 | 1u << 10 | 6u << 11 | 8u << 16);
  for (std::uint32_t bit = 0; bit < 32; ++bit) {
    PacketRecord changed = record;
    changed.flags ^= 1u << bit;
    const auto back = packet_entry(changed);
    // Bit 1 makes the start 3, which is none; 14, 15 and 24 to 31 have no meaning.
    const bool meaningless = bit == 1 || bit == 14 || bit == 15 || bit >= 24;
    ASSERT_EQ(back.has_value(), !meaningless) << bit;
    if (back) {
      EXPECT_EQ(packet_record(*back, 1234).flags, changed.flags) << bit;
    }
  }
}

}  // namespace
}  // namespace shardreel::testing
