#pragma once
// A unit: the packets that are decoded together, and which frames go where. The decoder knows
// units, never files.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "loader/media/av_handles.h"
#include "loader/window/window_plan.h"
#include "shardreel/error.h"

namespace shardreel {

/// Memory that a packet takes besides its bytes: FFmpeg's structures, padding, the allocator.
inline constexpr std::uint64_t kPacketOverheadBytes = 384;

/// Of a picture in memory, before anything is cropped away.
struct PictureSize {
  std::uint32_t width = 0, height = 0;

  /// With the rows and columns that decoders add at most.
  [[nodiscard]] std::uint64_t pixels() const noexcept {
    const auto side = [](std::uint64_t length) { return (length + 63) / 64 * 64; };
    return side(width) * side(height);
  }
  friend bool operator==(const PictureSize&, const PictureSize&) = default;
};

/// What a decoder has to be told, shared by all units of a video.
struct StreamParameters {
  AVCodecParametersPtr codec;       ///< with extradata
  AVRational time_base{};           ///< of packet and frame timestamps
  std::uint32_t quarter_turns = 0;  ///< display matrix, clockwise
  bool mirror = false;
  AVRational sample_aspect{0, 1};  ///< of the coded picture; 0/1 when unknown
  /// Whether a decoder that has been used on another unit may decode this video: not where
  /// parameter sets change inside the stream.
  bool recyclable = true;
  /// The build of x264 whose faults FFmpeg's H.264 decoder has to imitate; 0 for none. A decoder
  /// that saw it in the video's first packet would know.
  int x264_build = 0;
};

/// One destination of a frame.
struct SlotRef {
  std::uint32_t clip = 0;  ///< index into Unit::windows
  std::uint32_t slot = 0;  ///< 0..T-1
};

/// A frame that is wanted, and where it goes (a frame may go to many slots).
struct WantedFrame {
  std::int64_t frame = 0;  ///< display index in the video
  std::int64_t pts = 0;    ///< in time_base; meaningless when Unit::by_count
  std::vector<SlotRef> slots;
};

/// Gives a unit's packets in decoding order. Not thread-safe.
class PacketReader {
 public:
  virtual ~PacketReader() = default;
  /// Put the next packet into `packet`; false at the end. Unwanted packets have been left out
  /// already.
  virtual Result<bool> next(AVPacket& packet) = 0;
  /// Begin again with the first packet: a unit whose decoding failed in a used decoder is decoded
  /// once more in a fresh one.
  virtual Result<void> rewind() = 0;
};

/// How large a unit's pictures may be, and what decoding them takes.
struct DecodePlan {
  PictureSize picture;              ///< larger ones are refused, see VideoDecoder
  std::uint64_t decoder_bytes = 0;  ///< estimate: frames in flight + tables, at this size
  std::uint64_t most_bytes = 0;     ///< what it may have been
  bool holds_larger = false;        ///< packets announce larger ones, which take more than that
};

/// Takes part in the pipeline as a value: owns its packets (or, for a `streaming` unit, the means
/// to read them), so it can wait in a queue or a shuffle tier and be decoded on any thread.
struct Unit {
  std::shared_ptr<const StreamParameters> parameters;  // shared: immutable, one per video
  std::vector<Window> windows;                         ///< the clips it makes, ascending
  std::vector<WantedFrame> wanted;                     ///< ascending by frame
  std::vector<std::vector<double>> pts_seconds;        ///< [windows][T]
  /// Frames are recognised by counting what the decoder shows from `first_frame` on, not by their
  /// pts (streams whose timestamps are missing or not unique).
  bool by_count = false;
  std::int64_t first_frame =
      0;  ///< display index of the first frame the decoder will show (by_count)
  std::int64_t min_pts =
      INT64_MIN;  ///< frames before it are not of this unit (leading pictures of an open GOP)

  std::unique_ptr<PacketReader> packets;
  std::uint64_t packet_bytes = 0;  ///< held in memory, with per-packet overhead; 0 when streaming
  DecodePlan plan;
  bool streaming = false;  ///< packets are read while decoding (a unit too long to hold)
};

}  // namespace shardreel
