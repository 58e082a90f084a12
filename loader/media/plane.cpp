#include "loader/media/plane.h"

#include <new>

namespace shardreel {

std::byte* AlignedBuffer::reserve(std::size_t bytes) {
  if (bytes > capacity_) {
    memory_.reset();
    capacity_ = 0;
    const std::size_t size = rounded(bytes);
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, size)));
    if (memory_ == nullptr) throw std::bad_alloc();
    capacity_ = size;
  }
  return memory_.get();
}

void Plane::resize(std::uint32_t width, std::uint32_t height) {
  width_ = width;
  height_ = height;
  stride_ = AlignedBuffer::rounded(width * sizeof(std::uint16_t)) / sizeof(std::uint16_t);
  samples_ = reinterpret_cast<std::uint16_t*>(buffer_.reserve(bytes(width, height)));
}

std::uint64_t Plane::bytes(std::uint64_t width, std::uint64_t height) {
  return AlignedBuffer::rounded(width * sizeof(std::uint16_t)) * height;
}

}  // namespace shardreel
