#include <new>
#include <utility>

#include "shardreel/byte_source.h"

namespace shardreel {

OwnedBytes& OwnedBytes::operator=(OwnedBytes&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    release_ = std::exchange(other.release_, nullptr);
  }
  return *this;
}

void OwnedBytes::reset() noexcept {
  if (data_ != nullptr && release_) release_(data_);
  data_ = nullptr;
  size_ = 0;
  release_ = nullptr;
}

ByteAllocator& heap_allocator() {
  class Heap final : public ByteAllocator {
   public:
    std::optional<OwnedBytes> try_allocate(std::size_t bytes) override {
      auto* data = new (std::nothrow) std::byte[bytes == 0 ? 1 : bytes];
      if (data == nullptr) return std::nullopt;
      return OwnedBytes(data, bytes, [](std::byte* block) { delete[] block; });
    }
  };
  static Heap heap;  // stateless
  return heap;
}

}  // namespace shardreel
