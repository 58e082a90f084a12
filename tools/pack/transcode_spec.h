#pragma once
// What `--transcode` asks for, and the text it is written in.

#include <cstdint>
#include <string>
#include <string_view>

#include "shardreel/error.h"
#include "shardreel/video_record.h"

namespace shardreel::tools {

enum class TranscodeCodec { kH264, kHevc, kVp9, kAv1 };

/// How videos are prepared for training. A default-made value is `codec=h264` with its defaults.
struct TranscodeSpec {
  TranscodeCodec codec = TranscodeCodec::kH264;
  /// Shorter side of the stored picture, in pixels, even; 0 keeps the size. Smaller videos keep
  /// theirs unless `upscale`.
  std::uint32_t short_side = 0;
  bool upscale = false;
  /// Frames of a group: every gop-th frame is a keyframe, and groups are closed. 12 to 30.
  int gop = 30;
  int crf = 23;  ///< constant quality: 1..51 (h264, hevc), 1..63 (vp9, av1); less = better
  bool copy_audio = false;        ///< first audio stream, packet by packet
  Rational fps;                   ///< frames a second; 0/1 keeps the frames and their times
  std::string preset = "medium";  ///< the encoder's own word: x264/x265 "veryfast", vp9/av1 "6"
  bool fastdecode = false;        ///< h264, hevc: without CABAC (h264) and loop filters
  int depth = 0;  ///< bits of a component: 8, 10, or 0 by the rule in docs/transcoding.md

  friend bool operator==(const TranscodeSpec& a, const TranscodeSpec& b);
};

/// Parse "key=value,key=value". Keys: codec, short_side, upscale, gop, crf, audio, fps, preset,
/// fastdecode, depth. Errors (kInvalidOption) name the key, what it may be, and the nearest key for
/// one that is not known.
Result<TranscodeSpec> parse_transcode_spec(std::string_view text);

/// Write all keys with their values, in a fixed order; parsing it gives the same spec. For
/// manifests.
std::string to_string(const TranscodeSpec& spec);

}  // namespace shardreel::tools
