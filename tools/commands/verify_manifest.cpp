#include "tools/commands/verify_manifest.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "loader/read/stoppable.h"
#include "shards/sha256.h"

namespace shardreel::tools {
namespace {

namespace fs = std::filesystem;

fs::path absolute(const std::string& path) {
  std::error_code failed;
  const fs::path whole = fs::absolute(path, failed);
  return (failed ? fs::path(path) : whole).lexically_normal();
}

Finding finding(FindingKind kind, const std::string& shard, std::uint64_t number,
                std::string message) {
  return Finding{kind, shard, {}, {}, {}, std::move(message), number, {}};
}

}  // namespace

ManifestChecks::Loaded* ManifestChecks::load(const std::string& path,
                                             std::vector<Finding>& findings,
                                             const std::string& shard) {
  if (const auto at = loaded_.find(path); at != loaded_.end()) return &at->second;
  Loaded& loaded = loaded_[path];
  loaded.path = path;
  loaded.folder = fs::path(path).parent_path().string();
  auto manifest = read_dataset_manifest(path);
  if (manifest) {
    for (std::size_t i = 0; i < manifest->shards.size(); ++i)
      loaded.by_name.emplace(manifest->shards[i].name, i);
    loaded.manifest = std::move(*manifest);
  } else if (manifest.error().code != ErrorCode::kNotFound || !given_.empty()) {
    findings.push_back(finding(FindingKind::kManifest, shard, 0,
                               fmt::format("{}: {}", path, manifest.error().message)));
  }
  return &loaded;
}

std::pair<ManifestChecks::Loaded*, const ManifestShard*> ManifestChecks::find(
    const std::string& url, std::vector<Finding>& findings) {
  const auto path = local_path(url);
  if (!path) return {nullptr, nullptr};
  const fs::path shard = absolute(*path);
  std::vector<fs::path> candidates;
  if (!given_.empty()) {
    candidates = {absolute(given_)};
  } else {
    const fs::path folder = shard.parent_path();
    candidates = {folder / kDatasetManifestName, folder.parent_path() / kDatasetManifestName};
  }
  Loaded* beside = nullptr;
  for (const fs::path& candidate : candidates) {
    Loaded* loaded = load(candidate.string(), findings, url);
    if (!loaded->manifest) continue;
    const std::string name = shard.lexically_relative(loaded->folder).string();
    if (const auto at = loaded->by_name.find(name); at != loaded->by_name.end()) {
      loaded->listed_one = true;
      return {loaded, &loaded->manifest->shards[at->second]};
    }
    // The manifest of the folder above may well be of something else.
    if (beside == nullptr && (!given_.empty() || candidate == candidates.front())) beside = loaded;
  }
  return {beside, nullptr};
}

std::vector<Finding> ManifestChecks::check(const WalkedShard& shard, std::uint64_t payload_bytes) {
  std::vector<Finding> findings;
  const auto [loaded, listed] = find(shard.url, findings);
  if (listed == nullptr) {
    if (loaded != nullptr)
      findings.push_back(finding(FindingKind::kUnlistedShard, shard.url, shard.number,
                                 fmt::format("{} does not list it", loaded->path)));
    return findings;
  }
  if (!shard.file_bytes) return findings;
  // clang 14 does not capture a structured binding.
  const std::string& manifest_path = loaded->path;
  const auto differs = [&](FindingKind kind, std::string_view what, std::uint64_t there,
                           std::uint64_t expected) {
    findings.push_back(
        finding(kind, shard.url, shard.number,
                fmt::format("{} {}; {} says {}", there, what, manifest_path, expected)));
  };
  const ManifestCounts& counts = listed->counts;
  if (*shard.file_bytes != counts.bytes)
    differs(FindingKind::kChecksum, "bytes", *shard.file_bytes, counts.bytes);
  else
    sha256_[shard.number] = listed->sha256;
  if (shard.samples != counts.samples)
    differs(FindingKind::kCount, "samples can be read", shard.samples, counts.samples);
  else if (payload_bytes != counts.payload_bytes)
    differs(FindingKind::kCount, "bytes are in fields", payload_bytes, counts.payload_bytes);
  return findings;
}

std::optional<std::string> ManifestChecks::expected_sha256(const WalkedShard& shard) const {
  const auto at = sha256_.find(shard.number);
  if (at == sha256_.end()) return std::nullopt;
  return at->second;
}

std::vector<Finding> ManifestChecks::finish() {
  std::vector<Finding> findings;
  for (const auto& [path, loaded] : loaded_) {
    if (!loaded.manifest || !loaded.listed_one) continue;
    for (const ManifestShard& shard : loaded.manifest->shards) {
      const std::string file = (fs::path(loaded.folder) / shard.name).string();
      std::error_code failed;
      if (fs::exists(file, failed)) continue;
      findings.push_back(
          finding(FindingKind::kMissingShard, file, 0,
                  fmt::format("{} lists it with {} samples", path, shard.counts.samples)));
    }
  }
  return findings;
}

std::size_t ManifestChecks::used() const {
  std::size_t count = 0;
  for (const auto& [path, loaded] : loaded_) count += loaded.listed_one ? 1 : 0;
  return count;
}

std::vector<Finding> check_sha256(const WalkedShard& shard, const std::string& expected,
                                  const std::stop_token& stop) {
  auto file = open_file(local_path(shard.url).value_or(shard.url));
  if (!file)
    return {finding(FindingKind::kShardUnreadable, shard.url, shard.number, file.error().message)};
  const auto stoppable_file = stoppable(std::move(*file), stop);
  const auto digest = sha256_of(*stoppable_file->random_access());
  if (!digest) {
    if (digest.error().code == ErrorCode::kStopped) return {};
    return {
        finding(FindingKind::kShardUnreadable, shard.url, shard.number, digest.error().message)};
  }
  if (*digest == expected) return {};
  return {finding(FindingKind::kChecksum, shard.url, shard.number,
                  fmt::format("its SHA-256 is {}, the manifest says {}", *digest, expected))};
}

}  // namespace shardreel::tools
