#pragma once
// Videos for tests: made with the ffmpeg program, cached for the machine, plus the shared real ones
// where they exist.

#include <optional>
#include <string>
#include <vector>

namespace shardreel::testing {

/// Make a clip with the ffmpeg program: `arguments` stand between `ffmpeg -y` and the output's
/// name. Cached by its arguments below $SHARDREEL_TEST_CACHE (default: a folder in the temporary
/// directory); returns the path. Throws with ffmpeg's words when it fails.
std::string make_clip(const std::string& arguments, const std::string& extension);

/// The clips most tests need: 320x240, `frames` frames at 30 fps of moving test pictures that
/// differ from frame to frame, no audio. `codec_arguments` e.g. "-c:v libx264 -g 30 -bf 2 -pix_fmt
/// yuv420p".
std::string make_test_clip(const std::string& codec_arguments, int frames,
                           const std::string& extension, const std::string& size = "320x240");

/// One row of the shared media's manifest.
struct SharedVideo {
  std::string path;  ///< absolute
  std::string name;  ///< relative, e.g. "real/av1/pytorch_av1_video.mkv"
  std::string codec, pix_fmt, category, notes, tags;
  std::optional<long> frames, packets;
};

/// All videos of the shared folder ($SHARDREEL_MEDIA_DIR, or shared/media beside the checkout);
/// empty when absent.
std::vector<SharedVideo> shared_videos();

/// The folder itself, or empty.
std::string shared_media_dir();

}  // namespace shardreel::testing
