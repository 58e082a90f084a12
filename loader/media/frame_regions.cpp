#include "loader/media/frame_regions.h"

extern "C" {
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
}

#include <array>

namespace shardreel {
namespace {

/// Shift of a subsampled component against luma along one axis, in its own samples: its sample i
/// lies on luma sample factor * i (first), between (centre) or on the last one.
double siting_shift(int log2, bool first, bool last) {
  const double cosited = 0.5 - 0.5 / (1 << log2);
  return first ? cosited : last ? -cosited : 0;
}

}  // namespace

Turn turn_of(const FrameGeometry& geometry) {
  constexpr std::array<Turn, 4> kClockwise = {
      {{false, false, false}, {true, true, false}, {false, true, true}, {true, false, true}}};
  Turn turn = kClockwise[geometry.quarter_turns % 4];
  if (geometry.mirror) (turn.transpose ? turn.reverse_rows : turn.reverse_columns) ^= true;
  if (geometry.flip) turn.reverse_columns ^= true;
  return turn;
}

Region region_of(const AVFrame& frame, const PixelLayout& layout, int component,
                 const FrameGeometry& geometry) {
  Region region{geometry.crop_x, geometry.crop_y, geometry.crop_width, geometry.crop_height};
  if (layout.family != ColorFamily::kYuv || component == 0) return region;
  const int log2_w = layout.descriptor->log2_chroma_w, log2_h = layout.descriptor->log2_chroma_h;
  const AVChromaLocation at = frame.chroma_location;
  const bool centre =
      at == AVCHROMA_LOC_CENTER || at == AVCHROMA_LOC_TOP || at == AVCHROMA_LOC_BOTTOM;
  const bool top = at == AVCHROMA_LOC_TOPLEFT || at == AVCHROMA_LOC_TOP;
  const bool bottom = at == AVCHROMA_LOC_BOTTOMLEFT || at == AVCHROMA_LOC_BOTTOM;
  const double factor_w = 1 << log2_w, factor_h = 1 << log2_h;
  return {region.left / factor_w + siting_shift(log2_w, !centre, false),
          region.top / factor_h + siting_shift(log2_h, top, bottom), region.width / factor_w,
          region.height / factor_h};
}

}  // namespace shardreel
