#include "tools/pack/upload_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "loader/read/http/s3_upload.h"
#include "shards/dataset_manifest.h"
#include "shards/file_access.h"

namespace shardreel::tools {

namespace fs = std::filesystem;

bool is_bucket(const std::string& out) { return out.starts_with("s3://"); }

Result<StagingFolder> StagingFolder::make(std::string given) {
  if (!given.empty()) return StagingFolder(std::move(given), false);
  const char* root = std::getenv("TMPDIR");
  std::string path =
      fmt::format("{}/shardreel-pack-XXXXXX", root != nullptr && *root != '\0' ? root : "/tmp");
  if (mkdtemp(path.data()) == nullptr) return system_error("making '" + path + "'", errno);
  return StagingFolder(std::move(path), true);
}

StagingFolder::StagingFolder(StagingFolder&& other) noexcept
    : path_(std::move(other.path_)), ours_(std::exchange(other.ours_, false)) {}

StagingFolder& StagingFolder::operator=(StagingFolder&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(ours_, other.ours_);
  return *this;
}

StagingFolder::~StagingFolder() {
  std::error_code ignored;
  if (ours_) fs::remove_all(path_, ignored);
}

Result<void> upload_set(const std::string& folder, const std::string& url, bool overwrite,
                        const std::stop_token& stop) {
  std::vector<std::string> names;
  std::error_code failed;
  for (const auto& file : fs::directory_iterator(folder, failed)) {
    std::string name = file.path().filename().string();
    if (file.is_regular_file() && !name.starts_with('.')) names.push_back(std::move(name));
  }
  if (failed) return system_error("listing '" + folder + "'", failed.value());
  // The manifest says that the set is whole.
  const auto last = [](const std::string& name) { return name == kDatasetManifestName; };
  std::ranges::sort(names, {},
                    [&](const std::string& name) { return std::pair(last(name), name); });
  std::string root = url;
  while (root.ends_with('/')) root.pop_back();
  std::vector<FileToUpload> files;
  for (const std::string& name : names) files.push_back({folder + "/" + name, root + "/" + name});
  return S3Uploader(InputOptions()).put_all(files, overwrite, stop);
}

}  // namespace shardreel::tools
