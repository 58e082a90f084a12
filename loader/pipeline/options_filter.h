#pragma once
// The conditions of the `filter` option, parsed.

#include <string>
#include <string_view>

#include "shardreel/error.h"

namespace shardreel {

/// What one condition looks at.
enum class FilterKind {
  kKey,         ///< the sample's key matches `text`, a glob as of fnmatch(3) without flags
  kField,       ///< the content of field `name`, without white space at its ends, is `text`
  kJson,        ///< member `name` of the field "json" is `text` (a string, or the value as JSON)
  kMinFrames,   ///< the video has at least `number` frames
  kMaxFrames,   ///< … at most
  kMinSeconds,  ///< the video lasts at least `number` seconds
  kMaxSeconds,  ///< … at most
  kMinWidth,    ///< the video is at least `number` pixels wide
  kMinHeight,   ///< … high
};

struct FilterRule {
  FilterKind kind = FilterKind::kKey;
  std::string name;   ///< of the field or JSON member; empty otherwise
  std::string text;   ///< for kKey, kField, kJson
  double number = 0;  ///< for the others; finite, not negative
};

/// Parse one condition, e.g. "key=train/*", "cls=3", "json.lang=en", "min_seconds=2.5". The error
/// (kInvalidOption) says what a condition looks like.
Result<FilterRule> parse_filter(std::string_view condition);

}  // namespace shardreel
