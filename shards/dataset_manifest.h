#pragma once
// `dataset.json`: what `shardreel pack` says of the shards it made. docs/format.md has the format.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardreel/error.h"

namespace shardreel {

inline constexpr std::string_view kDatasetManifestName = "dataset.json";

/// Counts of a set of samples. Frames and seconds are those of the videos; nothing where some
/// videos were not looked at.
struct ManifestCounts {
  std::uint64_t samples = 0;
  std::uint64_t bytes = 0;          ///< of the shard files
  std::uint64_t payload_bytes = 0;  ///< of the fields in them
  std::optional<std::uint64_t> frames;
  std::optional<double> seconds;

  ManifestCounts& operator+=(const ManifestCounts& other);  ///< what one side lacks, both lack
  friend bool operator==(const ManifestCounts&, const ManifestCounts&) = default;
};

struct ManifestShard {
  std::string name;    ///< of the file, relative to the manifest's folder; UTF-8, no '..'
  std::string split;   ///< empty when the set has no splits
  std::string sha256;  ///< of the file, 64 hexadecimal digits
  ManifestCounts counts;
  friend bool operator==(const ManifestShard&, const ManifestShard&) = default;
};

/// The same for the same input and options: nothing in it tells the time, the machine or the way.
struct DatasetManifest {
  std::string tool;           ///< "shardreel 0.1.0"
  std::string options;        ///< those that decide the shards' bytes; one JSON object as text
  ManifestCounts counts;      ///< of all shards
  std::uint64_t refused = 0;  ///< inputs that were not packed
  std::map<std::string, std::uint64_t> codecs;  ///< videos by FFmpeg's name of the codec
  std::map<std::string, std::uint64_t> sizes;   ///< videos by size as shown, "1280x720"
  std::map<std::string, std::uint64_t> fields;  ///< samples by the fields they have
  std::vector<ManifestShard> shards;            ///< in the order of their names within a split

  friend bool operator==(const DatasetManifest&, const DatasetManifest&) = default;
};

/// Write as JSON, one line a shard; the same text for the same manifest. Strings that are not UTF-8
/// get replacement characters.
[[nodiscard]] std::string to_json(const DatasetManifest& manifest);

/// Read what `to_json` wrote; keys that are not known are passed over. The text may be hostile:
/// anything that is not a manifest of this version, or whose names lead out of its folder, repeat,
/// or whose sums do not add up, is kCorruptArchive with the place.
Result<DatasetManifest> parse_dataset_manifest(std::string_view text);

/// Read the file at `path` (at most 1 GiB). kNotFound, kIo, or what parsing says.
Result<DatasetManifest> read_dataset_manifest(const std::string& path);

/// Whether `name` is a relative path that stays in its folder: not empty, no NUL, no empty, "." or
/// ".." part.
[[nodiscard]] bool is_safe_relative_name(std::string_view name) noexcept;

}  // namespace shardreel
