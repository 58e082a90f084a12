#pragma once
// From a shard to its index.

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
};

/// Look for the index of `url`, beside it or below `index_dir`, and compare it with the shard's
/// file (64 KiB of it are read).
OpenedIndex open_index(const std::string& url, const std::string& index_dir,
                       const RandomAccess& file);

/// A shard's file with its index.
struct FreshIndex {
  std::shared_ptr<const RandomAccess> file;
  ShardIndex index;
};
/// Open a shard that has to have one. kInvalidOption says what it lacks, and what would help.
Result<FreshIndex> fresh_index(const std::string& url, const std::string& index_dir);

}  // namespace shardreel
