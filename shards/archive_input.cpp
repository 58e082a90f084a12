#include "shards/archive_input.h"

#include <archive.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace shardreel {

ArchiveInput::ArchiveInput(std::unique_ptr<ByteStream> stream)
    : stream_(std::move(stream)), file_(stream_->random_access()) {
  // A small file needs no more than its size (and one byte, for a file that is empty by now).
  const std::uint64_t most = file_ ? std::max<std::uint64_t>(file_->size(), 1) : kBlockBytes;
  block_bytes_ = static_cast<std::size_t>(std::min<std::uint64_t>(most, kBlockBytes));
  next_bytes_ = block_bytes_;
  block_ = std::make_unique_for_overwrite<std::byte[]>(block_bytes_);
}

void ArchiveInput::remember() {
  const auto last = given().last(std::min(filled_, kHistory));
  history_.insert(history_.end(), last.begin(), last.end());
  if (history_.size() > kHistory) {
    history_.erase(history_.begin(), history_.end() - kHistory);
  }
}

Result<std::span<const std::byte>> ArchiveInput::next() {
  if (error_) return *error_;
  remember();
  base_ += filled_;
  filled_ = 0;
  const std::span<std::byte> into(block_.get(), next_bytes_);
  next_bytes_ = std::min(block_bytes_, next_bytes_ * 2);
  auto got = read_stream(base_, into);
  if (!got) {
    error_ = std::move(got.error());
    return *error_;
  }
  filled_ = *got;
  at_end_ = filled_ == 0;
  // From behind: data ends in a byte that is not zero nearly always, so this is one look.
  std::size_t last = filled_;
  while (last > 0 && block_[last - 1] == std::byte{0}) --last;
  if (last > 0) nonzero_end_ = base_ + last;
  return given();
}

Result<std::size_t> ArchiveInput::read_stream(std::uint64_t offset, std::span<std::byte> into) {
  if (stream_at_ != offset) {
    if (!stream_->go_to(offset)) return file_->read_at(offset, into);
    stream_at_ = offset;
  }
  auto got = stream_->read(into);
  if (got) stream_at_ += *got;
  return got;
}

Result<std::size_t> ArchiveInput::read_at(std::uint64_t offset, std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    auto got = read_stream(offset + done, into.subspan(done));
    if (!got) return got;
    if (*got == 0) break;
    done += *got;
  }
  return done;
}

std::uint64_t ArchiveInput::skip(std::uint64_t bytes) noexcept {
  if (file_ == nullptr) return 0;
  const std::uint64_t left = file_->size() - std::min(file_->size(), offset());
  const std::uint64_t skipped = std::min(bytes, left);
  if (skipped == 0) return 0;
  base_ = offset() + skipped;
  filled_ = 0;
  next_bytes_ = std::min(block_bytes_, kHeaderBlockBytes);
  history_.clear();
  return skipped;
}

std::size_t ArchiveInput::copy_given(std::uint64_t offset,
                                     std::span<std::byte> into) const noexcept {
  if (into.empty() || offset < base_ || offset >= base_ + filled_) return 0;
  const auto from = given().subspan(static_cast<std::size_t>(offset - base_));
  const std::size_t count = std::min(from.size(), into.size());
  std::memcpy(into.data(), from.data(), count);
  return count;
}

std::optional<std::array<unsigned char, ArchiveInput::kTarBlock>> ArchiveInput::tar_block(
    std::uint64_t offset) const {
  const std::uint64_t first = base_ - history_.size();
  if (offset < first || offset + kTarBlock > base_ + filled_) return std::nullopt;
  std::array<unsigned char, kTarBlock> copy{};
  std::size_t at = static_cast<std::size_t>(offset - first);
  std::size_t done = 0;
  if (at < history_.size()) {
    done = std::min(kTarBlock, history_.size() - at);
    std::memcpy(copy.data(), history_.data() + at, done);
    at += done;
  }
  if (done < kTarBlock) {
    std::memcpy(copy.data() + done, block_.get() + (at - history_.size()), kTarBlock - done);
  }
  return copy;
}

std::ptrdiff_t ArchiveInput::give_block(archive* handle, void* self, const void** block) noexcept {
  auto& input = *static_cast<ArchiveInput*>(self);
  try {
    auto given = input.next();
    if (given) {
      *block = given->data();
      return static_cast<std::ptrdiff_t>(given->size());
    }
  } catch (const std::exception& problem) {
    input.error_ = Error{ErrorCode::kInternal, problem.what(), {}, {}, {}};
  }
  archive_set_error(handle, EIO, "reading the stream failed");
  return -1;
}

std::int64_t ArchiveInput::skip_bytes(archive* /*handle*/, void* self,
                                      std::int64_t bytes) noexcept {
  auto& input = *static_cast<ArchiveInput*>(self);
  return bytes <= 0 ? 0 : static_cast<std::int64_t>(input.skip(static_cast<std::uint64_t>(bytes)));
}

}  // namespace shardreel
