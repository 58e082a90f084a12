#include "loader/pipeline/sample_filter.h"

#include <fnmatch.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

namespace shardreel {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

bool json_member_is(const std::string& text, const FilterRule& rule) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains(rule.name)) return false;
  const auto& value = json[rule.name];
  if (value.is_structured()) return false;  // and `dump` would follow its depth on the stack
  return (value.is_string() ? value.get<std::string>() : value.dump()) == rule.text;
}

double seconds(const VideoFacts& video) {
  return video.pts_seconds.empty() ? 0 : video.end_seconds - video.pts_seconds.front();
}

}  // namespace

Result<SampleFilter> SampleFilter::parse(const std::vector<std::string>& conditions) {
  SampleFilter filter;
  for (const std::string& condition : conditions) {
    auto rule = parse_filter(condition);
    if (!rule) return rule.error();
    filter.rules_.push_back(std::move(*rule));
  }
  return filter;
}

bool SampleFilter::looks_at_key() const {
  return std::ranges::any_of(rules_,
                             [](const FilterRule& rule) { return rule.kind == FilterKind::kKey; });
}

bool SampleFilter::looks_into_fields() const {
  return std::ranges::any_of(rules_, [](const FilterRule& rule) {
    return rule.kind == FilterKind::kField || rule.kind == FilterKind::kJson;
  });
}

bool SampleFilter::looks_into_times() const {
  return std::ranges::any_of(rules_, [](const FilterRule& rule) {
    return rule.kind == FilterKind::kMinSeconds || rule.kind == FilterKind::kMaxSeconds ||
           rule.kind == FilterKind::kMinWidth || rule.kind == FilterKind::kMinHeight;
  });
}

bool SampleFilter::accepts_key(const std::string& key) const {
  return std::ranges::all_of(rules_, [&](const FilterRule& rule) {
    return rule.kind != FilterKind::kKey || fnmatch(rule.text.c_str(), key.c_str(), 0) == 0;
  });
}

bool SampleFilter::accepts(const SampleFields& sample) const {
  return accepts_key(sample.key) && std::ranges::all_of(rules_, [&](const FilterRule& rule) {
           if (rule.kind == FilterKind::kField) {
             const std::string* field = sample.find(rule.name);
             return field != nullptr && trimmed(*field) == rule.text;
           }
           if (rule.kind == FilterKind::kJson) {
             const std::string* field = sample.find("json");
             return field != nullptr && json_member_is(*field, rule);
           }
           return true;
         });
}

bool SampleFilter::accepts(const VideoFacts& video) const {
  return std::ranges::all_of(rules_, [&](const FilterRule& rule) {
    switch (rule.kind) {
      case FilterKind::kMinFrames: return static_cast<double>(video.frame_count) >= rule.number;
      case FilterKind::kMaxFrames: return static_cast<double>(video.frame_count) <= rule.number;
      case FilterKind::kMinSeconds: return seconds(video) >= rule.number;
      case FilterKind::kMaxSeconds: return seconds(video) <= rule.number;
      case FilterKind::kMinWidth: return video.width >= rule.number;
      case FilterKind::kMinHeight: return video.height >= rule.number;
      default: return true;
    }
  });
}

}  // namespace shardreel
