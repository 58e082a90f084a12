#pragma once
// Small videos of all the kinds whose records an index keeps.

#include <string>
#include <vector>

#include "loader/demux/describe_video.h"

namespace shardreel::testing {

/// 50 frames of 176x144 at 30 fps, unless the name says otherwise.
struct IndexClip {
  std::string name, path;
  bool direct;    ///< whether packets lie in the file as they are
  bool constant;  ///< rate
};

std::vector<IndexClip> index_clips();

/// The field name that a path's extension makes.
std::string extension_of(const std::string& path);

Result<VideoDescription> describe_file(const std::string& path);

}  // namespace shardreel::testing
