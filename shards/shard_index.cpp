#include "shardreel/shard_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <numeric>

#include "shards/index_block.h"
#include "shards/index_bytes.h"
#include "shards/index_directory.h"
#include "shards/index_layout.h"

namespace shardreel {
namespace {

/// A file that is opened for each read: an index of each of ten thousand shards may be loaded, and
/// so many files cannot be open.
class ReopenedFile final : public RandomAccess {
 public:
  ReopenedFile(std::string path, std::uint64_t size) : path_(std::move(path)), size_(size) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    auto stream = open_file(path_);
    if (!stream) return std::move(stream.error());
    return (*stream)->random_access()->read_at(offset, into);
  }

 private:
  std::string path_;
  std::uint64_t size_;
};

struct Header {
  std::uint32_t version = 0, flags = 0;
  ShardIdentity shard;
  std::uint64_t samples = 0, directory_bytes = 0, directory_hash = 0, block_bytes = 0;
};

Error damaged(const std::string& name, std::string_view what) {
  return Error{ErrorCode::kCorruptArchive,
               fmt::format("the shard index '{}' is damaged: {}; make it again with `shardreel "
                           "index`",
                           name, what),
               {},
               {},
               {}};
}

Result<std::string> read_text(const RandomAccess& file, std::uint64_t offset, std::uint64_t bytes) {
  std::string text(static_cast<std::size_t>(bytes), '\0');
  auto got = file.read_at(offset, std::as_writable_bytes(std::span(text)));
  if (!got) return std::move(got.error());
  text.resize(*got);
  return text;
}

std::optional<std::string_view> problem_with_block(std::string_view stored, const ParsedRow& row) {
  if (stored.size() != row.block.stored_bytes) return "is cut";
  if (index_hash(stored) != row.block.hash) return "has the wrong checksum";
  return std::nullopt;
}

Error damaged_block(const std::string& name, std::uint64_t offset, const ParsedRow& row,
                    std::string_view what) {
  Error error = damaged(name, fmt::format("the block at byte {} {}", offset, what));
  error.key = row.key;
  return error;
}

Result<Header> read_header(const RandomAccess& file, const std::string& name) {
  const std::uint64_t size = file.size();
  auto bytes = read_text(file, 0, std::min<std::uint64_t>(size, kIndexHeaderBytes));
  if (!bytes) return std::move(bytes.error());
  if (!std::string_view(*bytes).starts_with(kIndexMagic)) {
    return damaged(name, size < kIndexMagic.size() ? fmt::format("it has {} bytes", size)
                                                   : "it does not begin as a shard index does");
  }
  Header header;
  IndexCursor in(*bytes, kIndexMagic.size());
  header.version = static_cast<std::uint32_t>(in.word(4));
  if (in.good() && header.version != kIndexVersion) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("the shard index '{}' has version {}; this build reads version {}: "
                             "make it again with `shardreel index --force`",
                             name, header.version, kIndexVersion),
                 {},
                 {},
                 {}};
  }
  header.flags = static_cast<std::uint32_t>(in.word(4));
  header.shard.bytes = in.word(8);
  header.shard.fingerprint = in.word(8);
  header.samples = in.word(8);
  header.directory_bytes = in.word(8);
  header.directory_hash = in.word(8);
  header.block_bytes = in.word(8);
  const std::uint64_t hash = in.word(8);
  if (!in.good()) return damaged(name, fmt::format("it is cut at byte {}", bytes->size()));
  if (hash != index_hash(std::string_view(*bytes).substr(0, kIndexHeaderHashed))) {
    return damaged(name, "its header has the wrong checksum");
  }
  const std::uint64_t rest = size - kIndexHeaderBytes;
  if (header.directory_bytes > rest || header.block_bytes != rest - header.directory_bytes) {
    return damaged(
        name, fmt::format("it has {} bytes; expected {} of header, {} of directory and "
                          "{} of blocks",
                          size, kIndexHeaderBytes, header.directory_bytes, header.block_bytes));
  }
  if (header.flags > kIndexSeekable) return damaged(name, "its flags make no sense");
  return header;
}

}  // namespace

struct ShardIndex::State {
  std::shared_ptr<const RandomAccess> file;  // shared: the caller may use it as well
  std::string name;
  ShardIdentity shard;
  bool seekable = false;
  std::uint64_t blocks_at = 0;
  IndexDirectory directory;
  mutable std::once_flag sorted;
  mutable std::vector<std::uint64_t> by_key;  ///< positions in the order of their keys

  [[nodiscard]] const std::vector<std::uint64_t>& keys_in_order() const {
    std::call_once(sorted, [this] {
      by_key.resize(directory.rows().size());
      std::iota(by_key.begin(), by_key.end(), std::uint64_t{0});
      std::stable_sort(by_key.begin(), by_key.end(), [this](std::uint64_t a, std::uint64_t b) {
        return directory.key(a) < directory.key(b);
      });
    });
    return by_key;
  }
};

Result<ShardIndex> ShardIndex::load(const std::string& path) {
  auto stream = open_file(path);
  if (!stream) return std::move(stream.error());
  auto index = load((*stream)->random_access(), path);
  if (index) {
    auto state = std::const_pointer_cast<State>(index->state_);  // nobody else has it yet
    state->file = std::make_shared<ReopenedFile>(path, state->file->size());
  }
  return index;
}

Result<ShardIndex> ShardIndex::load(std::shared_ptr<const RandomAccess> file, std::string name) {
  auto header = read_header(*file, name);
  if (!header) return std::move(header.error());
  auto bytes = read_text(*file, kIndexHeaderBytes, header->directory_bytes);
  if (!bytes) return std::move(bytes.error());
  if (bytes->size() != header->directory_bytes) return damaged(name, "its directory is cut");
  if (index_hash(*bytes) != header->directory_hash) {
    return damaged(name, "its directory has the wrong checksum");
  }
  auto state = std::make_shared<State>();
  state->seekable = (header->flags & kIndexSeekable) != 0;
  // Beyond 2^62 no archive reaches; the bound keeps sums of what a hostile file claims in range.
  const std::uint64_t content =
      std::min(state->seekable ? header->shard.bytes : ~std::uint64_t{0}, std::uint64_t{1} << 62);
  const auto problem =
      state->directory.parse(std::move(*bytes), header->samples, content, header->block_bytes);
  if (problem) return damaged(name, *problem);
  state->shard = header->shard;
  state->blocks_at = kIndexHeaderBytes + header->directory_bytes;
  state->file = std::move(file);
  state->name = std::move(name);
  return ShardIndex(std::move(state));
}

std::uint64_t ShardIndex::count() const noexcept { return state_->directory.rows().size(); }
const IndexTotals& ShardIndex::totals() const noexcept { return state_->directory.totals(); }
const ShardIdentity& ShardIndex::shard() const noexcept { return state_->shard; }
bool ShardIndex::seekable() const noexcept { return state_->seekable; }
const std::vector<std::string>& ShardIndex::video_fields() const noexcept {
  return state_->directory.video_fields();
}
std::uint64_t ShardIndex::memory_bytes() const noexcept {
  return sizeof(State) + state_->directory.memory_bytes();
}

IndexedSample ShardIndex::sample(std::uint64_t i) const { return state_->directory.sample(i); }

std::optional<std::uint64_t> ShardIndex::find(std::string_view key) const {
  const auto& order = state_->keys_in_order();
  const auto at = std::lower_bound(
      order.begin(), order.end(), key,
      [this](std::uint64_t i, auto wanted) { return state_->directory.key(i) < wanted; });
  if (at == order.end() || state_->directory.key(*at) != key) return std::nullopt;
  return *at;
}

std::optional<std::uint64_t> ShardIndex::find_ordinal(std::uint64_t ordinal) const {
  const auto& rows = state_->directory.rows();
  const auto at = std::lower_bound(
      rows.begin(), rows.end(), ordinal,
      [](const IndexRow& row, std::uint64_t wanted) { return row.ordinal < wanted; });
  if (at == rows.end() || at->ordinal != ordinal) return std::nullopt;
  return static_cast<std::uint64_t>(at - rows.begin());
}

std::optional<VideoRecord> ShardIndex::video(std::uint64_t i) const {
  ParsedRow row;
  state_->directory.read_row(i, row);
  if (!row.video) return std::nullopt;
  return state_->directory.video(row);
}

Result<IndexedVideo> ShardIndex::read_video(std::uint64_t i) const {
  ParsedRow row;
  state_->directory.read_row(i, row);
  if (!row.video) {
    return Error{ErrorCode::kNotFound,
                 fmt::format("the shard index '{}' has no video of this sample", state_->name),
                 {},
                 std::string(row.key),
                 {}};
  }
  const std::uint64_t offset =
      state_->blocks_at + state_->directory.rows()[static_cast<std::size_t>(i)].block_offset;
  auto stored = read_text(*state_->file, offset, row.block.stored_bytes);
  if (!stored) return std::move(stored.error());
  if (const auto problem = problem_with_block(*stored, row)) {
    return damaged_block(state_->name, offset, row, *problem);
  }
  IndexedVideo video;
  video.record = state_->directory.video(row);
  if (!unpack_block(*stored, row.block.raw_bytes, row.block.keyframes, video.record,
                    video.packets)) {
    return damaged_block(state_->name, offset, row, "makes no sense");
  }
  return video;
}

Result<void> ShardIndex::check_blocks() const {
  constexpr std::uint64_t kPieceBytes = 1 << 20;  // many blocks a read
  std::string piece;
  std::uint64_t piece_at = 0;
  ParsedRow row;
  for (std::uint64_t i = 0; i < count(); ++i) {
    state_->directory.read_row(i, row);
    if (!row.video) continue;
    const std::uint64_t offset =
        state_->blocks_at + state_->directory.rows()[static_cast<std::size_t>(i)].block_offset;
    if (offset < piece_at || offset + row.block.stored_bytes > piece_at + piece.size()) {
      auto read = read_text(*state_->file, offset, std::max(kPieceBytes, row.block.stored_bytes));
      if (!read) return std::move(read.error());
      piece = std::move(*read);
      piece_at = offset;
    }
    const std::string_view stored =
        std::string_view(piece).substr(offset - piece_at, row.block.stored_bytes);
    if (const auto problem = problem_with_block(stored, row)) {
      return damaged_block(state_->name, offset, row, *problem);
    }
  }
  return {};
}

Result<void> ShardIndex::check_fresh(const RandomAccess& shard, std::string_view shard_name) const {
  const auto stale = [&](std::string_view what) {
    return Error{ErrorCode::kCorruptArchive,
                 fmt::format("the shard index '{}' is not of the shard '{}' as it is now: {}; "
                             "make it again with `shardreel index`",
                             state_->name, shard_name, what),
                 {},
                 {},
                 {}};
  };
  if (shard.size() != state_->shard.bytes) {
    return stale(fmt::format("the shard has {} bytes, and had {} when it was indexed", shard.size(),
                             state_->shard.bytes));
  }
  auto now = identify_shard(shard);
  if (!now) return std::move(now.error());
  if (*now != state_->shard) {
    return stale(
        fmt::format("both have {} bytes, but the fingerprint is {:016x}, and was {:016x} "
                    "when it was indexed",
                    shard.size(), now->fingerprint, state_->shard.fingerprint));
  }
  return {};
}

}  // namespace shardreel
