#include "loader/read/open_index.h"

#include <utility>

namespace shardreel {

OpenedIndex open_index(const std::string& url, const std::string& index_dir,
                       const RandomAccess& file) {
  OpenedIndex opened;
  const auto path = shard_index_path(url, index_dir);
  if (!path) return opened;
  auto index = ShardIndex::load(*path);
  if (!index) {
    if (index.error().code != ErrorCode::kNotFound) opened.ignored = std::move(index.error());
    return opened;
  }
  auto fresh = index->check_fresh(file, url);
  if (fresh)
    opened.index = std::move(*index);
  else if (fresh.error().code != ErrorCode::kStopped)  // then nothing is wrong with it
    opened.ignored = std::move(fresh.error());
  return opened;
}

}  // namespace shardreel
