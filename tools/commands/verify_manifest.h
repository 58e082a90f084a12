#pragma once
// Shards against the `dataset.json` beside them.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "shards/dataset_manifest.h"
#include "tools/commands/finding.h"
#include "tools/commands/shard_walk.h"

namespace shardreel::tools {

/// Looks for a manifest in each shard's folder, and in the one above (splits); or takes the one
/// that is given. Holds the manifests. One thread.
class ManifestChecks {
 public:
  explicit ManifestChecks(std::string given) : given_(std::move(given)) {}

  /// A shard that was read: compare sizes and counts. What a manifest of its own says comes along.
  std::vector<Finding> check(const WalkedShard& shard, std::uint64_t payload_bytes);

  /// The digest that the shard's file should have, once `check` has seen it; nothing when no
  /// manifest lists it, or when its size is wrong anyway.
  [[nodiscard]] std::optional<std::string> expected_sha256(const WalkedShard& shard) const;

  /// Behind the last shard: those that manifests list and that are not there.
  std::vector<Finding> finish();

  [[nodiscard]] std::size_t used() const;  ///< manifests

 private:
  struct Loaded {
    std::string path, folder;
    std::optional<DatasetManifest> manifest;
    std::unordered_map<std::string, std::size_t> by_name;
    bool listed_one = false;
  };
  Loaded* load(const std::string& path, std::vector<Finding>& findings, const std::string& shard);
  std::pair<Loaded*, const ManifestShard*> find(const std::string& url,
                                                std::vector<Finding>& findings);

  const std::string given_;
  std::map<std::string, Loaded> loaded_;  ///< by path
  std::map<std::uint64_t, std::string> sha256_;
};

/// Compare the file's SHA-256; on any thread.
std::vector<Finding> check_sha256(const WalkedShard& shard, const std::string& expected,
                                  const std::stop_token& stop);

}  // namespace shardreel::tools
