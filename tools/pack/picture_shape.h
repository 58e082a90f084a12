#pragma once
// What the output's pictures are like, and how a source's frames become so.

#include <string>

#include "loader/media/av_handles.h"
#include "shardreel/error.h"
#include "tools/pack/transcode_spec.h"

namespace shardreel::tools {

/// Of encoded frames; decided on the source's first frame.
struct PictureShape {
  int width = 0, height = 0;  ///< even
  AVPixelFormat format = AV_PIX_FMT_YUV420P;
  AVRational sample_aspect{0, 1};
  AVColorRange range = AVCOL_RANGE_UNSPECIFIED;  ///< the tags
  AVColorSpace matrix = AVCOL_SPC_UNSPECIFIED;
  AVColorPrimaries primaries = AVCOL_PRI_UNSPECIFIED;
  AVColorTransferCharacteristic transfer = AVCOL_TRC_UNSPECIFIED;
  AVChromaLocation chroma = AVCHROMA_LOC_UNSPECIFIED;
};

/// Decide size, depth and tags by the rules in docs/transcoding.md. kUnsupported for a picture that
/// has no even size (one pixel wide or high).
Result<PictureShape> decide_shape(const TranscodeSpec& spec, const AVFrame& first,
                                  const AVStream& stream);

/// Whether frames need no work at all.
bool matches(const PictureShape& shape, const AVFrame& frame);

/// The filters that make frames like `frame` into `shape`. Values of samples change with scaling
/// and depth only; RGB alone is converted by a matrix.
std::string shaping_filters(const PictureShape& shape, const AVFrame& frame);

}  // namespace shardreel::tools
