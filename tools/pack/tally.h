#pragma once
// What packing counts beside the shards themselves, as it goes into the journal and the reports.

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "shards/dataset_manifest.h"
#include "tools/pack/inputs.h"

namespace shardreel::tools {

/// What transcoding saved, summed over videos.
struct TranscodeGain {
  std::uint64_t videos = 0;
  std::uint64_t source_bytes = 0, bytes = 0;
  /// Frames that a random window of 16 takes to decode, on average; sums over the videos.
  double source_window_frames = 0, window_frames = 0;
};

/// Counts of a part of the dataset. Parts add up to the whole in any order of adding that keeps the
/// order of `refused`.
struct Tally {
  std::uint64_t inputs = 0;  ///< samples that were listed and are done: packed or refused
  std::vector<Refusal> refused;
  std::map<std::string, std::uint64_t> codecs, sizes, fields;
  TranscodeGain gain;

  Tally& operator+=(const Tally& other);
};

/// Keys and paths that are not UTF-8 survive (as `path_hex`, `key_hex`).
nlohmann::ordered_json to_json(const Refusal& refusal);
nlohmann::ordered_json to_json(const Tally& tally);
nlohmann::ordered_json to_json(const ManifestShard& shard);

/// Read back what was written into a journal; throws the JSON library's exceptions for what is not
/// that.
Tally tally_from(const nlohmann::ordered_json& json);
ManifestShard shard_from(const nlohmann::ordered_json& json);

/// JSON text on one line; what is not UTF-8 gets replacement characters.
std::string dump(const nlohmann::ordered_json& json);

}  // namespace shardreel::tools
