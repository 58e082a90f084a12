#pragma once
// Where bytes come from and what holds them. Further sources (http, s3) are further implementations
// of these.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <shardreel/error.h>

namespace shardreel {

/// A piece to read: `into.size()` bytes from `offset` on.
struct ReadPiece {
  std::uint64_t offset = 0;
  std::span<std::byte> into;
};

/// Bytes at any offset. Implementations are immutable after construction and safe to use from many
/// threads.
class RandomAccess {
 public:
  virtual ~RandomAccess() = default;
  [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;
  /// Read up to `into.size()` bytes at `offset`; fewer only at the end, 0 behind it.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const = 0;
  /// Read all pieces whole; kIo where the source ends before one does. Where each read is a round
  /// trip, all are asked for at once, and nothing around them.
  virtual Result<void> read_pieces(std::span<const ReadPiece> pieces) const;
  /// Bytes [offset, offset + size) as a source that never reads ahead beyond them; null where a
  /// view of this one does as well. See `slice`.
  [[nodiscard]] virtual std::shared_ptr<const RandomAccess> part(std::uint64_t /*offset*/,
                                                                 std::uint64_t /*size*/) const {
    return nullptr;
  }
};

/// Bytes in order, once: a file, a pipe, standard input, a decompressor. One thread at a time.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  /// Read at least one byte (blocking) and at most `into.size()`; 0 means the end.
  virtual Result<std::size_t> read(std::span<std::byte> into) = 0;
  /// Read on at `offset`, where the source can do that cheaply; false: it cannot, and stands where
  /// it stood.
  virtual bool go_to(std::uint64_t /*offset*/) { return false; }
  /// The same bytes by offset, where the source can do that cheaply (a regular file, an
  /// object over the network); else null. Where `read` stands does not matter to it.
  [[nodiscard]] virtual std::shared_ptr<const RandomAccess> random_access() const {
    return nullptr;
  }
};

/// A block of bytes with one owner; whoever made it gets it back when it dies.
class OwnedBytes {
 public:
  using Release = std::function<void(std::byte*)>;

  OwnedBytes() = default;
  OwnedBytes(std::byte* data, std::size_t size, Release release)
      : data_(data), size_(size), release_(std::move(release)) {}
  OwnedBytes(OwnedBytes&& other) noexcept { *this = std::move(other); }
  OwnedBytes& operator=(OwnedBytes&& other) noexcept;
  ~OwnedBytes() { reset(); }

  [[nodiscard]] std::span<std::byte> span() noexcept { return {data_, size_}; }
  [[nodiscard]] std::span<const std::byte> span() const noexcept { return {data_, size_}; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  void reset() noexcept;

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  Release release_;
};

/// Gives memory for what is read. The loader's implementation reserves it in its budget first.
class ByteAllocator {
 public:
  virtual ~ByteAllocator() = default;
  /// Return a block of exactly `bytes`, or nothing when there is no room now (never waits).
  virtual std::optional<OwnedBytes> try_allocate(std::size_t bytes) = 0;
};

/// The allocator that never refuses: the C++ heap.
ByteAllocator& heap_allocator();

/// What becomes of a file's pages in the kernel's cache once it has been read.
enum class FileCache {
  kKeep,  ///< the kernel decides
  kDrop,  ///< they are given up when the file is closed: nobody else's are pushed out for them
};

/// Open a regular file for reading in large blocks (sequential advice given). A directory, a device
/// or a missing file is an error that says which.
Result<std::unique_ptr<ByteStream>> open_file(const std::string& path,
                                              FileCache cache = FileCache::kKeep);

/// Wrap bytes in memory; the block stays alive as long as the result.
std::shared_ptr<const RandomAccess> memory_source(std::shared_ptr<const OwnedBytes> bytes);

/// A view of `size` bytes of another source, starting at `offset`.
std::shared_ptr<const RandomAccess> slice(std::shared_ptr<const RandomAccess> of,
                                          std::uint64_t offset, std::uint64_t size);

}  // namespace shardreel
