#include "shards/stream_position.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace shardreel {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{64} << 10;

}  // namespace

StreamPosition::StreamPosition(std::unique_ptr<ByteStream> stream)
    : stream_(std::move(stream)), file_(stream_->random_access()), block_(kBlockBytes) {}

Result<std::size_t> StreamPosition::fill() {
  used_ = filled_ = 0;
  auto got =
      file_ ? file_->read_at(static_cast<std::uint64_t>(position_), block_) : stream_->read(block_);
  if (got) filled_ = *got;
  return got;
}

Result<std::size_t> StreamPosition::read(std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    if (used_ == filled_) {
      auto got = fill();
      if (!got) return got;
      if (*got == 0) break;
    }
    const std::size_t count = std::min(into.size() - done, filled_ - used_);
    std::memcpy(into.data() + done, block_.data() + used_, count);
    used_ += count;
    done += count;
    position_ += static_cast<std::int64_t>(count);
  }
  return done;
}

Result<void> StreamPosition::seek(std::int64_t offset) {
  if (offset < position_) {
    return Error{
        ErrorCode::kCorruptArchive,
        fmt::format("byte {} would come next, which lies before byte {}", offset, position_),
        {},
        {},
        {}};
  }
  while (position_ < offset) {
    const std::int64_t held = static_cast<std::int64_t>(filled_ - used_);
    if (held > 0) {
      const std::int64_t count = std::min(held, offset - position_);
      used_ += static_cast<std::size_t>(count);
      position_ += count;
    } else if (file_) {
      const auto end = static_cast<std::int64_t>(file_->size());
      if (position_ >= end) return {};
      position_ = std::min(offset, end);
    } else {
      auto got = fill();
      if (!got) return std::move(got.error());
      if (*got == 0) return {};
    }
  }
  return {};
}

Result<void> StreamPosition::advance_to(std::int64_t offset) {
  if (auto there = seek(offset - 1); !there) return there;
  std::byte last{};
  auto got = read({&last, 1});
  if (!got) return std::move(got.error());
  if (*got == 1) return {};
  return Error{
      ErrorCode::kTruncated,
      fmt::format("the archive is cut at byte {}; expected it to reach byte {}", position_, offset),
      {},
      {},
      static_cast<std::uint64_t>(position_)};
}

}  // namespace shardreel
