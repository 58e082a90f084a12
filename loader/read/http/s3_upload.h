#pragma once
// Files into a bucket of S3 or a store that speaks its language: all of them, or none.

#include <memory>
#include <span>
#include <stop_token>
#include <string>

#include "shardreel/error.h"
#include "shardreel/options.h"

namespace shardreel {

struct FileToUpload {
  std::string path;  ///< a regular file that does not change meanwhile
  std::string url;   ///< "s3://BUCKET/KEY", the key raw
};

/// Signs, retries and finds credentials as reading does; has an event loop of its own. One upload
/// at a time. Holds one part in memory.
class S3Uploader {
 public:
  static constexpr std::size_t kPartBytes = std::size_t{8} << 20;  ///< larger beyond 78 GiB a file

  /// Of the options, `retries`, `request_timeout`, `connections`, `ca_file`, `s3_endpoint` and
  /// `s3_region` matter.
  explicit S3Uploader(const InputOptions& options);
  S3Uploader(const S3Uploader&) = delete;
  S3Uploader& operator=(const S3Uploader&) = delete;
  ~S3Uploader();

  /// The parts of all files go up first; only then do objects appear, in the order given. An object
  /// that is there already is an error (kInvalidOption) unless `overwrite`, or unless it was put
  /// there from the same bytes. On any failure before that, and when stopped, the parts are taken
  /// back and nothing appears; a process that is killed leaves parts that no reader sees (the
  /// bucket's own rule for unfinished uploads removes them). Waits.
  Result<void> put_all(std::span<const FileToUpload> files, bool overwrite,
                       const std::stop_token& stop);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace shardreel
