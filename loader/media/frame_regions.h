#pragma once
// What a FrameGeometry means for the components of a frame and for the order of the output's rows
// and columns: shared by every converter.

#include "loader/media/component_rows.h"
#include "loader/media/frame_geometry.h"
#include "loader/media/plane.h"

struct AVFrame;

namespace shardreel {

/// The eight ways to lay a picture: output (x, y) is scaled (x, y), or (y, x) if `transpose`, after
/// the output's columns or rows were reversed.
struct Turn {
  bool transpose = false, reverse_columns = false, reverse_rows = false;
};

[[nodiscard]] Turn turn_of(const FrameGeometry& geometry);

/// Where the crop lies in a component's samples: chroma by the frame's tagged siting.
[[nodiscard]] Region region_of(const AVFrame& frame, const PixelLayout& layout, int component,
                               const FrameGeometry& geometry);

}  // namespace shardreel
