#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "shardreel/shard_index.h"
#include "shardreel/shard_url.h"

namespace shardreel {
namespace {

constexpr std::uint64_t kSampleBytes = std::uint64_t{4} << 10;
constexpr std::uint64_t kSamples = 16;

struct FreeHash {
  void operator()(XXH3_state_t* state) const noexcept { XXH3_freeState(state); }
};

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("/._-+=,@").find(c) != std::string_view::npos;
}

/// A URL as a path below the folder of indexes: what a file name should not hold as %XX.
std::string url_as_path(std::string_view url) {
  std::string path;
  for (const char c : url) {
    // No part of the path may be "..": it would lead out of the folder.
    const bool plain = is_plain(c) && !(c == '.' && path.ends_with('/'));
    path += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return path;
}

}  // namespace

Result<ShardIdentity> identify_shard(const RandomAccess& shard) {
  const std::unique_ptr<XXH3_state_t, FreeHash> state(XXH3_createState());
  if (state == nullptr) return Error{ErrorCode::kMemory, "making a hash failed", {}, {}, {}};
  const std::uint64_t size = shard.size();
  XXH3_64bits_reset_withSeed(state.get(), size);
  // All of a small shard, else samples at equal distances, the first and the last bytes included:
  // two shards of one size whose members differ in any size or order differ in nearly all of them.
  const bool all = size <= kSamples * kSampleBytes;
  const std::uint64_t last = all ? 0 : size - kSampleBytes;
  std::vector<std::byte> bytes(static_cast<std::size_t>(all ? size : kSamples * kSampleBytes));
  std::vector<ReadPiece> pieces;
  for (std::uint64_t i = 0; i < (all ? 1 : kSamples); ++i) {
    // The remainder apart, because last * i may not fit 64 bits.
    constexpr std::uint64_t kSteps = kSamples - 1;
    const std::uint64_t offset = last / kSteps * i + last % kSteps * i / kSteps;
    const std::span<std::byte> rest = std::span(bytes).subspan(pieces.size() * kSampleBytes);
    pieces.push_back({offset, all ? rest : rest.first(kSampleBytes)});
  }
  if (auto read = shard.read_pieces(pieces); !read) return std::move(read.error());
  XXH3_64bits_update(state.get(), bytes.data(), bytes.size());
  return ShardIdentity{size, XXH3_64bits_digest(state.get())};
}

std::optional<std::string> shard_index_path(std::string_view shard, std::string_view index_dir) {
  constexpr std::string_view kSuffix = ".sridx";
  const auto path = local_shard_path(shard);
  if (!path) {
    // Nothing can be put beside a URL, and a stream has no name to find it by.
    const bool stream = shard.empty() || shard == "-" || shard.starts_with("pipe:");
    if (stream || index_dir.empty()) return std::nullopt;
    return fmt::format("{}/{}{}", index_dir, url_as_path(shard), kSuffix);
  }
  if (index_dir.empty()) return *path + std::string(kSuffix);
  std::error_code failed;
  const auto absolute = std::filesystem::absolute(std::filesystem::path(*path), failed);
  if (failed) return std::nullopt;
  return fmt::format("{}{}{}", index_dir, absolute.lexically_normal().string(), kSuffix);
}

}  // namespace shardreel
