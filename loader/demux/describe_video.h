#pragma once
// Everything an index, a report or a manifest wants to know of one video.

#include <memory>
#include <string>
#include <vector>

#include "loader/demux/video_file.h"
#include "shardreel/byte_source.h"
#include "shardreel/error.h"
#include "shardreel/video_record.h"

namespace shardreel {

struct VideoDescription {
  VideoRecord record;
  std::vector<PacketRecord> packets;  ///< in decoding order
  VideoFacts facts;                   ///< as `indexed_facts` of the two gives them
};

/// Open, probe and scan the video in `source`; nothing is decoded beyond what probing decodes.
/// `field` ("mp4") is a hint for the container. Errors are those of `VideoFile::open`.
Result<VideoDescription> describe_video(std::shared_ptr<const RandomAccess> source,
                                        const std::string& field);

}  // namespace shardreel
