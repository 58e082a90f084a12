#include "tests/loader/demux/index_clips.h"

#include <fmt/format.h>

#include <filesystem>

#include "tests/loader/decode/oracle.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

std::string source_clip(const std::string& filters, const std::string& arguments,
                        const char* extension) {
  return make_clip(
      fmt::format("-f lavfi -i testsrc2=size=176x144:rate=30 {} -frames:v 50 -pix_fmt yuv420p {}",
                  filters.empty() ? "" : "-vf " + filters, arguments),
      extension);
}

}  // namespace

std::string extension_of(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  return extension.empty() ? "" : extension.substr(1);
}

Result<VideoDescription> describe_file(const std::string& path) {
  return describe_video(file_in_memory(path), extension_of(path));
}

std::vector<IndexClip> index_clips() {
  const std::string x264 = "-c:v libx264 -preset ultrafast ";
  std::vector<IndexClip> clips;
  const auto add = [&](const char* name, const std::string& filters, const std::string& arguments,
                       const char* extension, bool direct, bool constant = true) {
    clips.push_back({name, source_clip(filters, arguments, extension), direct, constant});
  };
  add("mp4", "", x264 + "-g 12 -bf 2", "mp4", true);
  add("mp4_no_edit_list", "", x264 + "-g 12 -bf 0 -use_editlist 0", "mp4", true);
  add("open_gop", "", "-c:v libx264 -x264-params open-gop=1:keyint=12:bframes=2", "mp4", true);
  add("fragmented", "", x264 + "-g 12 -movflags frag_keyframe+empty_moov", "mp4", true);
  add("mkv", "", x264 + "-g 12 -bf 2", "mkv", true);
  clips.push_back({"audio",
                   make_clip("-f lavfi -i testsrc2=size=176x144:rate=30:duration=2 -f lavfi -i "
                             "sine=duration=2 -frames:v 50 " +
                                 x264 + "-pix_fmt yuv420p -g 12 -bf 2 -c:a aac",
                             "mp4"),
                   true, true});
  add("tagged", "setsar=4/3",
      x264 + "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv", "mp4",
      true);
  add("ten_bit", "", "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=0",
      "mp4", true);
  add("vp9", "", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 12", "webm", true);
  add("vp8", "", "-c:v libvpx -deadline realtime -cpu-used 8 -g 12", "webm", true);
  add("av1", "", "-c:v libsvtav1 -preset 12 -g 12", "mkv", true);
  add("mjpeg_mov", "", "-c:v mjpeg", "mov", true);
  add("mpeg4_avi", "", "-c:v mpeg4 -g 12", "avi", true);
  add("variable", "select='not(mod(n\\,3)*mod(n\\,4))',setpts=PTS*1.1", x264 + "-vsync vfr", "mp4",
      true, false);
  add("ts", "", x264 + "-g 12 -bf 2", "ts", false);
  return clips;
}

}  // namespace shardreel::testing
