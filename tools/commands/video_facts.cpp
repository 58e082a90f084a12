#include "tools/commands/video_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "loader/demux/describe_video.h"
#include "loader/read/http/http_url.h"
#include "loader/read/http/remote_shape.h"
#include "loader/read/open_index.h"
#include "loader/read/source_opener.h"
#include "shardreel/byte_source.h"
#include "shardreel/options.h"
#include "tools/commands/shard_walk.h"
#include "tools/commands/text_json.h"

namespace shardreel::tools {
namespace {

// What a program without a budget takes from a server it does not know: an index of a million
// videos has less.
constexpr std::uint64_t kMostRemoteBytes = std::uint64_t{1} << 30;

}  // namespace

const std::vector<std::string>& default_video_fields() {
  static const std::vector<std::string> kFields = InputOptions().video_fields;
  return kFields;
}

const Field* video_of(const Sample& sample, const std::vector<std::string>& video_fields) {
  for (const std::string& name : video_fields) {
    if (const Field* field = sample.find(name)) return field;
  }
  return nullptr;
}

SidecarIndex open_sidecar(const std::string& shard_url, const std::string& index_dir,
                          const std::stop_token& stop) {
  const bool remote = is_remote(shard_url);
  const bool beside = remote && index_dir.empty();
  const std::string name = redacted(shard_url);
  SidecarIndex sidecar;
  sidecar.path = beside ? redacted(remote_index_url(shard_url)) : shard_index_path(name, index_dir);
  if (!sidecar.path) return sidecar;
  const OpenUrl open = [&](const std::string& url) { return SourceOpener({}).open(url, stop); };
  OpenedIndex opened =
      beside ? open_remote_index(shard_url, kMostRemoteBytes, open) : open_index(name, index_dir);
  if (opened.index) {
    const auto path = local_path(shard_url);
    if (!path && !remote) return sidecar;
    const auto file = path ? open_file(*path) : open(shard_url);
    const auto shard = file ? (*file)->random_access() : nullptr;
    if (shard == nullptr) return sidecar;  // reading the shard will say why
    opened.check_fresh(*shard, name);
  }
  sidecar.index = std::move(opened.index);
  sidecar.problem = std::move(opened.ignored);
  return sidecar;
}

Result<VideoFactsOf> facts_of(const Sample& sample, const Field& field,
                              const SidecarIndex* sidecar) {
  if (sidecar != nullptr && sidecar->index) {
    if (const auto at = sidecar->index->find_ordinal(sample.ordinal)) {
      auto known = sidecar->index->read_video(*at);
      if (known && known->record.field == field.name) {
        auto facts = indexed_facts(known->record, known->packets);
        if (facts) return VideoFactsOf{std::move(known->record), std::move(*facts), true};
      }
    }
  }
  auto described = describe_video(field.content, field.name);
  if (!described) {
    return std::move(described.error().at(sample.shard, sample.key, field.offset));
  }
  return VideoFactsOf{std::move(described->record), std::move(described->facts), false};
}

namespace {

/// How long the frame that is shown longest stays, seconds; null where frames have no times.
nlohmann::ordered_json longest_frame(const VideoFacts& facts) {
  if (facts.pts_seconds.empty()) return nullptr;
  double longest = facts.end_seconds - facts.pts_seconds.back();
  for (std::size_t i = 1; i < facts.pts_seconds.size(); ++i)
    longest = std::max(longest, facts.pts_seconds[i] - facts.pts_seconds[i - 1]);
  return longest;
}

}  // namespace

nlohmann::ordered_json to_json(const VideoFactsOf& facts) {
  const VideoRecord& record = facts.record;
  const auto& rate = record.frame_rate;
  const auto open = std::count_if(record.keyframes.begin(), record.keyframes.end(),
                                  [](const KeyframeRecord& keyframe) { return keyframe.open; });
  nlohmann::ordered_json json;
  add_text(json, "field", record.field);
  json["codec"] = record.codec;
  json["container"] = record.container;
  json["width"] = record.coded_width;
  json["height"] = record.coded_height;
  json["display_width"] = record.display_width;
  json["display_height"] = record.display_height;
  if (facts.facts.sample_aspect.numerator > 0) {
    json["sample_aspect"] = fmt::format("{}:{}", facts.facts.sample_aspect.numerator,
                                        facts.facts.sample_aspect.denominator);
  } else {
    json["sample_aspect"] = nullptr;
  }
  json["rotation"] = 90 * record.quarter_turns;
  json["mirror"] = record.mirror;
  json["pixel_format"] = record.pixel_format;
  json["color_matrix"] = record.color_matrix;
  json["color_range"] = record.color_range;
  json["color_primaries"] = record.color_primaries;
  json["color_transfer"] = record.color_transfer;
  json["frames"] = record.frame_count;
  json["seconds"] = record.duration_seconds;
  if (rate.numerator > 0 && rate.denominator > 0)
    json["fps"] = static_cast<double>(rate.numerator) / rate.denominator;
  else
    json["fps"] = nullptr;
  json["longest_frame_seconds"] = longest_frame(facts.facts);
  json["constant_rate"] = record.constant_rate;
  json["times_used"] = !record.times_unused;
  json["packets"] = record.packet_count;
  json["keyframes"] = record.keyframes.size();
  json["open_keyframes"] = open;
  json["video_streams"] = facts.facts.video_streams;
  json["stream"] = facts.facts.stream_number;
  json["facts_from"] = facts.from_index ? "index" : "video";
  return json;
}

}  // namespace shardreel::tools
