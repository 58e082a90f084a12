#pragma once
// Whole remote shards in a local folder, shared by processes.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>

#include "loader/read/http/range_answer.h"
#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace shardreel {

/// What is counted. Relaxed atomics.
struct CacheCounters {
  std::atomic<std::uint64_t> hits{0}, misses{0}, stored{0}, evicted{0};
};

/// An entry is one file: the shard's bytes, then a trailer with its name, version and checksum. It
/// appears under its name complete or not at all; a download lies in a ".part" file that its writer
/// keeps locked, so that what a killed process left is told from what is being written. Entries are
/// removed least recently used first; one that is open stays readable. Thread-safe.
class ShardCache {
 public:
  /// `most_bytes` 0 = no bound. Makes the folder, removes what killed processes left.
  static Result<std::unique_ptr<ShardCache>> open(std::string folder, std::uint64_t most_bytes);

  /// The entry of `name`, its checksum verified by reading it whole. With `version`, only if it is
  /// that one. Nothing when there is none; a damaged or outdated one is removed.
  std::optional<std::unique_ptr<ByteStream>> find(const std::string& name,
                                                  const ObjectIdentity* version,
                                                  const std::stop_token& stop);

  /// Copy `from` (all of it, `version.size` bytes) into an entry and open that. Waits while another
  /// process or thread stores the same one. Nothing, with `from` untouched, when it is larger than
  /// the bound leaves (entries are removed for it, what others download is not). An error with
  /// `disk` set when the folder cannot hold it: `from` may be used up then.
  struct Stored {
    std::unique_ptr<ByteStream> stream;  ///< null: larger than the bound
  };
  struct Failure {
    Error error;
    bool disk = false;
  };
  std::variant<Stored, Failure> store(const std::string& name, const ObjectIdentity& version,
                                      ByteStream& from, const std::stop_token& stop);

  [[nodiscard]] const CacheCounters& counters() const noexcept { return counters_; }

 private:
  ShardCache(std::string folder, std::uint64_t most_bytes)
      : folder_(std::move(folder)), most_bytes_(most_bytes) {}
  [[nodiscard]] std::string path_of(const std::string& name, std::string_view ending) const;
  void remove_abandoned() const;
  [[nodiscard]] Result<bool> claim_room(int fd, const std::string& part, std::uint64_t bytes);
  [[nodiscard]] bool make_room(std::uint64_t bytes);

  const std::string folder_;
  const std::uint64_t most_bytes_;
  CacheCounters counters_;
};

}  // namespace shardreel
