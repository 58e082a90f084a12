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
  PictureSize largest;  ///< that packets announce; zeros where they tell none
};

/// Sees each packet while its bytes are there.
using PacketVisitor = std::function<void(const AVPacket& packet, const PacketEntry& entry)>;

/// Read `demuxer` to its end. At least one packet, or kTruncated; kEncrypted where packets are.
Result<PacketScan> scan_packets(Demuxer& demuxer, const PacketVisitor& visit = {});

}  // namespace shardreel
