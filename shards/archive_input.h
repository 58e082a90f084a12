#pragma once
// The stream below libarchive: hands it blocks, and remembers what libarchive does not tell: the
// last bytes given, where the last byte that is not zero stood, and the exact error of the source.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "shardreel/byte_source.h"

struct archive;

namespace shardreel {

/// Where the stream can go to any place (it has `random_access`), members are skipped without being
/// read. Holds one block. Not thread-safe.
class ArchiveInput {
 public:
  static constexpr std::size_t kBlockBytes = std::size_t{128} << 10;
  /// The first block after a skip: a header and what is small behind it. Later ones double.
  static constexpr std::size_t kHeaderBlockBytes = std::size_t{16} << 10;
  static constexpr std::size_t kTarBlock = 512;

  explicit ArchiveInput(std::unique_ptr<ByteStream> stream);

  /// Give the next block, empty at the end; it is valid until the next call.
  Result<std::span<const std::byte>> next();
  /// Skip up to `bytes` without reading; 0 where the stream cannot.
  std::uint64_t skip(std::uint64_t bytes) noexcept;

  /// Offset behind the last byte given or skipped.
  [[nodiscard]] std::uint64_t offset() const noexcept { return base_ + filled_; }
  [[nodiscard]] bool at_end() const noexcept { return at_end_; }
  /// Offset behind the last byte that was given and is not zero.
  [[nodiscard]] std::uint64_t nonzero_end() const noexcept { return nonzero_end_; }
  /// Copy bytes from `offset` on, as far as they are in the block; returns how many.
  std::size_t copy_given(std::uint64_t offset, std::span<std::byte> into) const noexcept;
  /// Read straight from the stream, which can go to any place; fewer bytes only at its end. What
  /// `next` gives does not change.
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into);
  /// Look at the 512 bytes at `offset`, when they are among the last given; else nothing.
  [[nodiscard]] std::optional<std::array<unsigned char, kTarBlock>> tar_block(
      std::uint64_t offset) const;
  [[nodiscard]] const std::shared_ptr<const RandomAccess>& file() const noexcept { return file_; }
  [[nodiscard]] const std::optional<Error>& error() const noexcept { return error_; }

  // The callbacks for archive_read_open2; `self` is an ArchiveInput.
  static std::ptrdiff_t give_block(archive* handle, void* self, const void** block) noexcept;
  static std::int64_t skip_bytes(archive* handle, void* self, std::int64_t bytes) noexcept;

 private:
  // Two blocks of history are enough to see both end-of-archive blocks.
  static constexpr std::size_t kHistory = 2 * kTarBlock;
  void remember();
  Result<std::size_t> read_stream(std::uint64_t offset, std::span<std::byte> into);
  [[nodiscard]] std::span<const std::byte> given() const { return {block_.get(), filled_}; }

  std::unique_ptr<ByteStream> stream_;
  std::uint64_t stream_at_ = 0;               ///< where the stream stands
  std::shared_ptr<const RandomAccess> file_;  // shared with the ranges that are handed out
  std::size_t block_bytes_;                   ///< of the allocation
  std::size_t next_bytes_;                    ///< to read next
  std::unique_ptr<std::byte[]> block_;        ///< not a vector: nobody needs it filled with zeros
  std::vector<std::byte> history_;            ///< what was given directly before the block
  std::uint64_t base_ = 0;                    ///< offset of the block
  std::size_t filled_ = 0;
  std::uint64_t nonzero_end_ = 0;
  bool at_end_ = false;
  std::optional<Error> error_;
};

}  // namespace shardreel
