#pragma once
// One video, made ready for training: small, with short closed groups. `shardreel pack --transcode`
// and whoever else wants it.

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"
#include "tools/pack/transcode_spec.h"
#include "tools/pack/window_cost.h"

namespace shardreel::tools {

struct TranscodedVideo {
  std::string field = "mp4";                    ///< the field's name for this content
  std::shared_ptr<const RandomAccess> content;  // shared: the shard writer and checks read it
  std::int64_t source_frames = 0, frames = 0;   ///< equal unless fps is converted
  std::uint64_t source_bytes = 0, bytes = 0;
  WindowCost source_cost, cost;         ///< of a random window, before and after
  std::uint32_t width = 0, height = 0;  ///< stored size
};

/// Decode the video in `source` and encode it as `spec` says, into an mp4 with its index in front.
/// `field` ("mp4") is a hint for the container.
///
/// The result is complete or there is none: a source that is cut short, or whose frames cannot all
/// be decoded without an error, is a failure. Display matrix, colour tags and, unless `spec.fps`
/// says otherwise, every frame and its time are those of the source (docs/transcoding.md has the
/// rules).
///
/// Runs on the calling thread, with codecs of one thread: call it from many threads for many
/// videos. Same source and spec, same bytes. Memory: the codecs' frames (some 60 pictures of the
/// output's size at most, depending on codec and preset) and 8 bytes a frame. The output grows in
/// an unlinked file in `spool_dir` (empty = $TMPDIR, else /tmp) that lives as long as `content`.
///
/// Errors: those of opening a video; kTruncated and kDecodeError for damaged sources; kUnsupported
/// for what the encoder or mp4 cannot take; kIo for a full disk; kStopped within one frame's work.
Result<TranscodedVideo> transcode_video(std::shared_ptr<const RandomAccess> source,
                                        const std::string& field, const TranscodeSpec& spec,
                                        const std::string& spool_dir, const std::stop_token& stop);

}  // namespace shardreel::tools
