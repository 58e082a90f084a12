#include "loader/read/http/remote_core.h"

#include <sys/mman.h>

#include <utility>

namespace shardreel {

std::optional<RangeBlock> RangeBlock::make(MemoryShare& share, std::size_t bytes) {
  auto reservation = share.try_reserve(bytes, MemoryTag::kEncoded);
  if (!reservation) return std::nullopt;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return std::nullopt;
  return RangeBlock(std::move(*reservation), static_cast<std::byte*>(data), bytes);
}

RangeBlock::RangeBlock(RangeBlock&& other) noexcept
    : reservation_(std::move(other.reservation_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

RangeBlock& RangeBlock::operator=(RangeBlock&& other) noexcept {
  if (this != &other) {
    if (data_ != nullptr) munmap(data_, bytes_);
    reservation_ = std::move(other.reservation_);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

RangeBlock::~RangeBlock() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

}  // namespace shardreel
