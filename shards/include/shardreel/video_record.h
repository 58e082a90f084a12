#pragma once
// What is known of a video without decoding it: plain data, as an index stores it. The facts come
// from the demuxer; this layer only keeps them.

#include <cstdint>
#include <string>
#include <vector>

namespace shardreel {

/// A time that is not known.
inline constexpr std::int64_t kNoTimestamp = INT64_MIN;

/// One packet of the video's stream. Records are in decoding order, the container's own.
struct PacketRecord {
  std::int64_t pts = kNoTimestamp, dts = kNoTimestamp;  ///< in ticks of `VideoRecord::time_base`
  std::uint64_t offset = 0;  ///< of its bytes in the field's content; meaningful where `direct`
  std::uint32_t size = 0;    ///< bytes
  std::uint32_t flags = 0;   ///< its role in decoding; docs/format.md gives the bits
};

struct Rational {
  std::int32_t numerator = 0, denominator = 1;
};

/// A frame that decoding can start at.
struct KeyframeRecord {
  /// In display order; -1 when frames are only known by counting, or this one is never shown.
  std::int64_t frame = -1;
  std::int64_t pts = kNoTimestamp;
  std::uint64_t offset = 0;  ///< of its packet in the field's content; meaningful where `direct`
  bool open = false;         ///< begins an open group: frames shown before it need earlier packets
};

struct VideoRecord {
  std::string field;                                ///< the field it was read from, "mp4"
  std::string codec;                                ///< FFmpeg's name, "h264"
  std::string container;                            ///< FFmpeg's demuxer name
  std::uint32_t coded_width = 0, coded_height = 0;  ///< as the decoder gives frames
  /// As shown: sample aspect ratio and rotation applied.
  std::uint32_t display_width = 0, display_height = 0;
  std::uint32_t quarter_turns = 0;  ///< display matrix, clockwise, after mirroring
  bool mirror = false;
  std::string pixel_format;  ///< FFmpeg's name, "yuv420p"; empty when unknown
  /// FFmpeg's names of the colour tags; "unknown" where the stream has none.
  std::string color_matrix, color_range, color_primaries, color_transfer;
  Rational time_base, frame_rate;  ///< rate: average; 0/1 when unknown
  bool constant_rate = false;      ///< all frames are equally far apart (to a tick)
  bool times_unused = false;       ///< the packets' times do not tell the frames' order
  std::int64_t frame_count = 0;    ///< shown frames, edit list applied
  double duration_seconds = 0;     ///< from the first frame's time to the end of the last
  std::uint64_t packet_count = 0;
  std::vector<KeyframeRecord> keyframes;
  /// Each packet's bytes lie as they are at `PacketRecord::offset`, and `codec_parameters` hold all
  /// else that decoding takes: no demuxer is needed.
  bool direct = false;
  std::string codec_parameters;  ///< opaque to this layer; written and read by the demux layer
};

}  // namespace shardreel
