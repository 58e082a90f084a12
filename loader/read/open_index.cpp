#include "loader/read/open_index.h"

#include <fmt/format.h>

#include <utility>

#include "shardreel/shard_url.h"

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

Result<FreshIndex> fresh_index(const std::string& url, const std::string& index_dir) {
  const auto lacks = [](std::string why) {
    return Error{.code = ErrorCode::kInvalidOption, .message = std::move(why)};
  };
  const auto path = local_shard_path(url);
  if (!path) return lacks(fmt::format("{} is no file, so it has no index", url));
  auto stream = open_file(*path);
  if (!stream) return std::move(stream.error());
  auto file = (*stream)->random_access();
  OpenedIndex opened = open_index(url, index_dir, *file);
  if (opened.ignored) return lacks(opened.ignored->describe());
  if (!opened.index) return lacks(fmt::format("{} has no index (`shardreel index` makes it)", url));
  return FreshIndex{std::move(file), std::move(*opened.index)};
}

}  // namespace shardreel
