#pragma once
// Whether a container's own sizes lead beyond the end of its bytes.

#include <optional>
#include <string>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace shardreel::tools {

/// Look at the outermost structure of mp4/mov (boxes), Matroska/WebM (the segment), AVI (RIFF), FLV
/// (tags), MPEG transport streams (packets of 188, 192 or 204 bytes) and Ogg (the last page), and
/// say in a sentence what is missing at the end; nothing when all is there or the bytes are none of
/// these. Reads headers only. Demuxers pass over most of this in silence.
Result<std::optional<std::string>> find_truncation(const RandomAccess& content);

}  // namespace shardreel::tools
