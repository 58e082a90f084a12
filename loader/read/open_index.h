#pragma once
// From a shard to its index.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"
#include "shardreel/shard_index.h"

namespace shardreel {

/// What looking for a shard's index came to. Neither is set where there is none.
struct OpenedIndex {
  std::optional<ShardIndex> index;  ///< of the shard as it is now
  std::optional<Error> ignored;     ///< why the one that is there must not be used
  std::uint64_t held_bytes = 0;     ///< of memory that its file takes beyond `memory_bytes`

  /// Compare it with the shard's file (64 KiB of it are read): a stale one is ignored.
  void check_fresh(const RandomAccess& file, const std::string& url);
};

/// Look for the index of `url`: below `index_dir`, or beside a file.
OpenedIndex open_index(const std::string& url, const std::string& index_dir);

/// From a URL to its bytes, with all that the caller knows of networks.
using OpenUrl = std::function<Result<std::unique_ptr<ByteStream>>(const std::string& url)>;

/// Where the index beside a remote shard is: "URL.sridx", with what follows a "?" behind it.
[[nodiscard]] std::string remote_index_url(const std::string& url);

/// Look for the index beside a remote shard. It is absent where the server has none or shows none,
/// and ignored where it has more than `most_bytes`.
OpenedIndex open_remote_index(const std::string& url, std::uint64_t most_bytes,
                              const OpenUrl& open);

/// A shard's file with its index.
struct FreshIndex {
  std::shared_ptr<const RandomAccess> file;
  ShardIndex index;
};
/// Open a shard that has to have one. kInvalidOption says what it lacks, and what would help.
Result<FreshIndex> fresh_index(const std::string& url, const std::string& index_dir);

}  // namespace shardreel
