#include "loader/read/open_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "loader/read/http/http_url.h"
#include "shardreel/shard_url.h"

namespace shardreel {
namespace {

// What lies beyond is read when it is needed: an index of this size has more than a thousand
// videos.
constexpr std::uint64_t kMostHeldBytes = std::uint64_t{1} << 20;

/// All bytes of a stream of this size, in one go.
Result<std::shared_ptr<const RandomAccess>> held(ByteStream& stream, std::uint64_t size) {
  auto block = heap_allocator().try_allocate(static_cast<std::size_t>(size));
  if (!block) return Error{ErrorCode::kMemory, "no memory for the index", {}, {}, {}};
  for (std::size_t done = 0; done < block->size();) {
    const auto got = stream.read(block->span().subspan(done));
    if (!got) return got.error();
    if (*got == 0)
      return Error{ErrorCode::kIo, fmt::format("it ends at byte {} of {}", done, size), {}, {}, {}};
    done += *got;
  }
  return memory_source(std::make_shared<const OwnedBytes>(std::move(*block)));
}

Result<void> load_remote(const std::string& url, std::uint64_t most_bytes, const OpenUrl& open,
                         OpenedIndex& opened) {
  auto stream = open(url);
  if (!stream) return std::move(stream.error());
  auto file = (*stream)->random_access();
  if (file == nullptr)
    return Error{ErrorCode::kUnsupported, "it cannot be read by offset", {}, {}, {}};
  if (file->size() > most_bytes) {
    return Error{
        ErrorCode::kTooLarge,
        fmt::format("the index has {} bytes, and at most {} are read", file->size(), most_bytes),
        {},
        {},
        {}};
  }
  if (file->size() <= kMostHeldBytes) {
    auto bytes = held(**stream, file->size());
    if (!bytes) return std::move(bytes.error());
    file = std::move(*bytes);
    opened.held_bytes = file->size();
  } else {
    // A part reads on demand with the memory of one open video.
    file = slice(file, 0, file->size());
  }
  auto index = ShardIndex::load(std::move(file), redacted(url));
  if (!index) return std::move(index.error());
  opened.index = std::move(*index);
  return {};
}

}  // namespace

void OpenedIndex::check_fresh(const RandomAccess& file, const std::string& url) {
  if (!index) return;
  auto fresh = index->check_fresh(file, url);
  if (fresh) return;
  index.reset();
  if (fresh.error().code != ErrorCode::kStopped)  // then nothing is wrong with it
    ignored = std::move(fresh.error());
}

OpenedIndex open_index(const std::string& url, const std::string& index_dir) {
  OpenedIndex opened;
  const auto path = shard_index_path(url, index_dir);
  if (!path) return opened;
  auto index = ShardIndex::load(*path);
  if (!index) {
    if (index.error().code != ErrorCode::kNotFound) opened.ignored = std::move(index.error());
    return opened;
  }
  opened.index = std::move(*index);
  return opened;
}

std::string remote_index_url(const std::string& url) {
  // Keys of object stores may hold any character: only http knows queries.
  const std::string scheme = lower_case(url.substr(0, url.find("://")));
  const bool http = scheme == "http" || scheme == "https";
  const std::size_t end = std::min(http ? url.find_first_of("?#") : url.size(), url.size());
  return url.substr(0, end) + ".sridx" + url.substr(end);
}

OpenedIndex open_remote_index(const std::string& url, std::uint64_t most_bytes,
                              const OpenUrl& open) {
  OpenedIndex opened;
  const std::string beside = remote_index_url(url);
  if (auto loaded = load_remote(beside, most_bytes, open, opened); !loaded) {
    Error& why = loaded.error();
    // S3 calls forbidden what is not there, unless one may list the bucket.
    const bool absent = why.code == ErrorCode::kNotFound || why.code == ErrorCode::kNotPermitted;
    if (!absent && why.code != ErrorCode::kStopped) opened.ignored = why.at(redacted(beside));
  }
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
  OpenedIndex opened = open_index(url, index_dir);
  opened.check_fresh(*file, url);
  if (opened.ignored) return lacks(opened.ignored->describe());
  if (!opened.index) return lacks(fmt::format("{} has no index (`shardreel index` makes it)", url));
  return FreshIndex{std::move(file), std::move(*opened.index)};
}

}  // namespace shardreel
