#pragma once
// What is known of a sample's video: from the shard's index where that is fresh, else from the
// video itself.

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "loader/demux/video_file.h"
#include "shardreel/sample.h"
#include "shardreel/shard_index.h"
#include "shardreel/video_record.h"

namespace shardreel::tools {

/// The fields that may hold a video, first one first (the default of `video_fields`).
[[nodiscard]] const std::vector<std::string>& default_video_fields();

/// The sample's video: the first present of `video_fields`; null when it has none.
[[nodiscard]] const Field* video_of(const Sample& sample,
                                    const std::vector<std::string>& video_fields);

/// The index of a shard, if there is one.
struct SidecarIndex {
  std::optional<std::string> path;  ///< where it is or would be; nothing for pipes
  std::optional<ShardIndex> index;  ///< only when it is of the shard as it is now
  std::optional<Error> problem;     ///< it is there, but damaged, stale or not readable
};
SidecarIndex open_sidecar(const std::string& shard_url, const std::string& index_dir,
                          const std::stop_token& stop);

struct VideoFactsOf {
  VideoRecord record;
  VideoFacts facts;
  bool from_index = false;
};

/// Facts of `field` of this sample; `sidecar` may be null.
Result<VideoFactsOf> facts_of(const Sample& sample, const Field& field,
                              const SidecarIndex* sidecar);

/// As `inspect --json` and others print them.
[[nodiscard]] nlohmann::ordered_json to_json(const VideoFactsOf& facts);

}  // namespace shardreel::tools
