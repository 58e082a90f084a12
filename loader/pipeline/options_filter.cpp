#include "loader/pipeline/options_filter.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <utility>

#include "loader/pipeline/options_table.h"

namespace shardreel {
namespace {

constexpr std::array<std::pair<std::string_view, FilterKind>, 6> kBounds{{
    {"min_frames", FilterKind::kMinFrames},
    {"max_frames", FilterKind::kMaxFrames},
    {"min_seconds", FilterKind::kMinSeconds},
    {"max_seconds", FilterKind::kMaxSeconds},
    {"min_width", FilterKind::kMinWidth},
    {"min_height", FilterKind::kMinHeight},
}};
constexpr std::string_view kJsonPrefix = "json.";

Error refuse(std::string_view condition, std::string_view expected) {
  return Error{
      ErrorCode::kInvalidOption, fmt::format("filter '{}': {}", condition, expected), {}, {}, {}};
}

}  // namespace

Result<FilterRule> parse_filter(std::string_view condition) {
  const std::size_t equals = condition.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return refuse(condition,
                  "a condition is NAME=VALUE, with NAME one of key, a field's name, json.MEMBER, "
                  "min_frames, max_frames, min_seconds, max_seconds, min_width, min_height");
  }
  const std::string_view name = condition.substr(0, equals);
  const std::string_view value = condition.substr(equals + 1);
  FilterRule rule;
  for (const auto& [word, kind] : kBounds) {
    if (name != word) continue;
    rule.number = parse_number(value).value_or(-1);
    if (!std::isfinite(rule.number) || rule.number < 0)
      return refuse(condition, fmt::format("{} takes a number of at least 0", word));
    rule.kind = kind;
    return rule;
  }
  rule.text = value;
  if (name == "key") {
    if (value.empty()) return refuse(condition, "key takes a glob pattern, e.g. key=train/*");
    rule.kind = FilterKind::kKey;
  } else if (name.starts_with(kJsonPrefix)) {
    rule.kind = FilterKind::kJson;
    rule.name = name.substr(kJsonPrefix.size());
    if (rule.name.empty()) return refuse(condition, "json. is followed by a member's name");
  } else {
    rule.kind = FilterKind::kField;
    rule.name = name;
  }
  return rule;
}

}  // namespace shardreel
