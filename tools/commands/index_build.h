#pragma once
// One shard's index: made, or looked at.

#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "loader/read/source_opener.h"
#include "shardreel/error.h"
#include "shardreel/shard_index.h"

namespace shardreel::tools {

enum class IndexState {
  kFresh,    ///< there, and of the shard as it is
  kWritten,  ///< made just now
  kMissing,  ///< not there (--check)
  kStale,    ///< there, but of another shard, other fields, damaged or of another version (--check)
  kFailed,   ///< could not be made: `reason` says why
};

/// Return the word for reports, e.g. "fresh".
[[nodiscard]] std::string_view to_string(IndexState state) noexcept;

struct IndexReport {
  std::string shard;  ///< its URL
  std::string index;  ///< path; empty where the shard can have none
  IndexState state = IndexState::kFailed;
  std::string reason;             ///< of kStale and kFailed
  bool seekable = true;           ///< of kFresh and kWritten, like all below
  std::uint64_t index_bytes = 0;  ///< of the index file
  IndexTotals totals;
  std::map<std::string, std::uint64_t> failures;  ///< samples without a usable video, by code
};

struct IndexBuildOptions {
  std::string index_dir;  ///< empty = beside the shards
  std::vector<std::string> video_fields;
  bool force = false;              ///< make it even if a fresh one is there
  bool check = false;              ///< make nothing
  SourceOpener* remote = nullptr;  ///< opens shards over the network; null = files only
};

/// Bring the index of one shard up to date. A video that cannot be read is no failure of the index:
/// it is recorded with its reason. Any number of threads may work on different shards at once.
/// Stops between samples, with kFailed, and leaves what was there.
IndexReport index_shard(const std::string& shard, const IndexBuildOptions& options,
                        const std::stop_token& stop);

/// The samples of a plain shard as its index would have them, without looking into videos.
Result<std::vector<IndexedSample>> list_samples(const std::string& shard,
                                                const std::stop_token& stop);

}  // namespace shardreel::tools
