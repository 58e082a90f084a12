#pragma once
// A finished set of shards from its folder into a bucket.

#include <stop_token>
#include <string>

#include "shardreel/error.h"

namespace shardreel::tools {

/// Whether `--out` names a bucket: "s3://BUCKET/PREFIX".
[[nodiscard]] bool is_bucket(const std::string& out);

/// A folder to pack into before the upload: `given`, or a new one below $TMPDIR that is removed
/// with this object.
class StagingFolder {
 public:
  static Result<StagingFolder> make(std::string given);
  StagingFolder(StagingFolder&& other) noexcept;
  StagingFolder& operator=(StagingFolder&& other) noexcept;
  ~StagingFolder();
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  StagingFolder(std::string path, bool ours) : path_(std::move(path)), ours_(ours) {}
  std::string path_;
  bool ours_ = false;
};

/// Put all of the set (not dot files) below `url`, the manifest last: every object appears whole,
/// and none before the bytes of all are there.
Result<void> upload_set(const std::string& folder, const std::string& url, bool overwrite,
                        const std::stop_token& stop);

}  // namespace shardreel::tools
