#pragma once
// The pass over all packets of a video that everything else is planned with.

#include <cstdint>
#include <functional>
#include <vector>

#include "loader/demux/demuxer.h"
#include "loader/demux/packet_index.h"
#include "loader/demux/unit.h"
#include "shardreel/error.h"

namespace shardreel {

struct PacketScan {
  std::vector<PacketEntry> packets;  ///< in the container's order
  /// How long the frame that is shown last stays, in ticks; 0 when unknown.
  std::int64_t last_duration = 0;
  /// `DisplayOrder`'s verdict.
  bool times_mislead = false;
  int held_back = 0;
  /// What a decoder has to be told that starts behind the first packet: the build of x264 whose
  /// faults FFmpeg imitates, 0 none, kManyBuilds where each start tells it.
  int x264_build = 0;
  PictureSize largest;  ///< that packets announce; zeros where they tell none
};

/// The stream was put together of parts by several builds; only packets that name one are starts.
inline constexpr int kManyBuilds = -1;

/// Sees each packet while its bytes are there.
using PacketVisitor = std::function<void(const AVPacket& packet, const PacketEntry& entry)>;

/// Read `demuxer` to its end. At least one packet, or kTruncated; kEncrypted where packets are.
Result<PacketScan> scan_packets(Demuxer& demuxer, const PacketVisitor& visit = {});

}  // namespace shardreel
