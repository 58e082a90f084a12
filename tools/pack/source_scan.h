#pragma once
// A source, looked at before work starts on it.

#include <cstdint>
#include <memory>
#include <string>

#include "loader/demux/demuxer.h"
#include "loader/demux/packet_index.h"
#include "loader/media/av_handles.h"
#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace shardreel::tools {

struct SourceScan {
  PacketIndex index;
  std::int64_t last_duration = 0;  ///< ticks that the frame shown last is shown for; 0 = unknown
  double average_fps = 0;          ///< of the shown frames; 25 when nothing tells
  int held_back = 0;               ///< frames that a decoder holds back to show them in order
};

/// Read all packets of the video stream. Errors: those of opening a video; kTruncated for one whose
/// packets or container end before they should; kDecodeError for one that shows nothing.
Result<SourceScan> scan_source(std::shared_ptr<const RandomAccess> source, const std::string& field,
                               Demuxer::Probing probing = Demuxer::Probing::kWhereNeeded);

}  // namespace shardreel::tools
