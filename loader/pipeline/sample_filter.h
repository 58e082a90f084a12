#pragma once
// The `filter` option at work: which samples are left out, before and after their video is opened.

#include <string>
#include <vector>

#include "loader/demux/video_file.h"
#include "loader/pipeline/options_filter.h"
#include "shardreel/batch.h"
#include "shardreel/error.h"

namespace shardreel {

/// A sample passes when it meets all conditions. Immutable.
class SampleFilter {
 public:
  /// Parse the conditions; kInvalidOption names the one that is wrong and what is allowed.
  static Result<SampleFilter> parse(const std::vector<std::string>& conditions);

  /// Whether a condition looks at the key, needs fields' contents, or a video's times or size.
  [[nodiscard]] bool looks_at_key() const;
  [[nodiscard]] bool looks_into_fields() const;
  [[nodiscard]] bool looks_into_times() const;

  /// Whether the key passes.
  [[nodiscard]] bool accepts_key(const std::string& key) const;
  /// Whether key and fields pass.
  [[nodiscard]] bool accepts(const SampleFields& sample) const;
  /// Whether frames, seconds and size pass.
  [[nodiscard]] bool accepts(const VideoFacts& video) const;

 private:
  std::vector<FilterRule> rules_;
};

}  // namespace shardreel
