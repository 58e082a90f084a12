#pragma once
// Equal blocks of one reserved address range: pages are faulted in by a background thread shortly
// before they are first needed, then kept and reused. No malloc and no page fault per clip.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace shardreel {

class BlockPool;

/// One block, given back to its pool when this dies. Move-only.
class Block {
 public:
  Block() = default;
  Block(Block&& other) noexcept;
  Block& operator=(Block&& other) noexcept;
  ~Block();

  [[nodiscard]] std::span<std::byte> bytes() noexcept { return {data_, size_}; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  explicit operator bool() const noexcept { return data_ != nullptr; }

 private:
  friend class BlockPool;
  Block(BlockPool* pool, std::byte* data, std::size_t size)
      : pool_(pool), data_(data), size_(size) {}

  BlockPool* pool_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Takes the size and the greatest number of blocks; gives blocks, the one freed last first, so
/// that the resident part is as small as the greatest use. The number is a promise of the memory
/// plan: reserve first. Outlives its blocks. Thread-safe.
class BlockPool {
 public:
  /// Which blocks the background thread faults in before they are taken: always the next ones, or
  /// the very first alone. Blocks that one thread fills in turn may be faulted in by it: while the
  /// first one is made, all cores have more urgent work.
  enum class Ahead { kNext, kFirst };

  /// Address space for `count` blocks is reserved at once, memory is not. Throws std::bad_alloc
  /// when the system refuses.
  BlockPool(std::size_t block_bytes, std::size_t count, Ahead ahead = Ahead::kNext);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool();

  /// Return a block, or an empty one when all `count` are out. Never waits.
  Block take();

  /// Give the pages of free blocks back to the system until `bytes` are gone, but keep `kept` bytes
  /// of them. Whoever takes such a block faults it in again.
  void return_free(std::uint64_t bytes, std::uint64_t kept);

  /// What a block of `payload` bytes really takes: rounded up to whole pages.
  [[nodiscard]] static std::uint64_t block_bytes_for(std::uint64_t payload);

  [[nodiscard]] std::size_t count() const noexcept;
  [[nodiscard]] std::uint64_t block_bytes() const noexcept;
  [[nodiscard]] std::size_t in_use() const;
  [[nodiscard]] std::uint64_t resident_bytes() const;  ///< of pages faulted in and not given back

 private:
  friend class Block;
  void give_back(std::byte* data) noexcept;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace shardreel
