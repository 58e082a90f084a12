#pragma once
// What a packet's own bytes say: whether decoding can start at it, whether others need it, how many
// frames it shows. Containers know less (no index, every sample a "keyframe") or nothing of it.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "loader/media/av_handles.h"

namespace shardreel {

/// How decoding can start at a packet.
enum class RandomAccessPoint : std::uint8_t {
  kNone,
  kOpen,    ///< packets behind it that are shown before it may need what came before
  kClosed,  ///< nothing behind it needs anything before it
};

struct PacketTraits {
  RandomAccessPoint start = RandomAccessPoint::kNone;
  bool droppable = false;  ///< no other packet needs it (HEVC: if its layer is the highest one)
  bool skipped_leading = false;  ///< HEVC RASL: not decodable where its keyframe was the start
  bool sequence_end = false;     ///< what follows starts anew
  bool parameter_sets =
      false;               ///< carries headers that later packets need (and the container lacks)
  bool field = false;      ///< one field of a frame, not a frame
  bool bottom = false;     ///< which one
  bool packed = false;     ///< MPEG-4: holds two pictures; the next packet stands for the second
  std::uint8_t shown = 1;  ///< frames that decoding it shows
  std::uint8_t temporal_layer = 0;  ///< HEVC
};

/// Where a packet's frame is shown among those around it, as its own bits say it.
struct PictureOrder {
  enum class Rule : std::uint8_t {
    kUnknown,   ///< by bits that are not read here
    kDecoding,  ///< in the order of decoding
    kCount,     ///< by ascending `count`, which begins anew at closed starts (H.264, HEVC)
    kAnchor,    ///< behind all that was decoded before it
    kBetween,   ///< a B picture: directly before the anchor that was decoded last
  };
  Rule rule = Rule::kUnknown;
  std::int32_t count = 0;
};

/// What a packet's bits say to the scan of the whole stream; not kept with the packet.
struct ScanTraits {
  PictureOrder order;
  /// The build of x264 that an H.264 packet names, as far as FFmpeg's decoder minds it: 0 for all
  /// builds that it takes for right.
  std::optional<int> x264_build;
};

/// Reads the headers of one stream's packets, in their order; never fails: bytes that make no sense
/// are simply no place to start at. Not thread-safe.
class PacketInspector {
 public:
  explicit PacketInspector(const AVCodecParameters& codec);
  ~PacketInspector();
  PacketInspector(PacketInspector&&) noexcept = default;

  /// `container_key`: the container calls it a keyframe; believed only where the codec's headers
  /// are not read here.
  PacketTraits inspect(std::span<const std::uint8_t> packet, bool container_key, ScanTraits& scan);

 private:
  class Parser;
  AVCodecID codec_;
  std::vector<std::uint8_t> extradata_;
  int nal_length_bytes_ = 0;  ///< 0: start codes (Annex B)
  bool reorders_ = true;      ///< frames may be shown in another order than they are decoded in
  std::unique_ptr<Parser> parser_;  ///< FFmpeg's, for what takes whole parameter sets to know
};

}  // namespace shardreel
