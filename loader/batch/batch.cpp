#include "shardreel/batch.h"

#include <cstring>
#include <utility>

namespace shardreel {

std::uint64_t SampleFields::bytes() const {
  std::uint64_t total = sizeof(SampleFields) + key.capacity() + shard.capacity();
  for (const auto& [name, content] : fields) {
    total += sizeof(fields[0]) + name.capacity() + content.capacity();
  }
  return total;
}

const std::string* SampleFields::find(std::string_view name) const {
  for (const auto& [field, content] : fields) {
    if (field == name) return &content;
  }
  return nullptr;
}

Batch::Batch(std::unique_ptr<Storage> storage, std::vector<std::int64_t> shape, DType dtype,
             Layout layout, std::string device)
    : storage_(std::move(storage)),
      shape_(std::move(shape)),
      dtype_(dtype),
      layout_(layout),
      device_(std::move(device)) {}

Result<void> Batch::Storage::use_on(void* /*stream*/) { return {}; }
Result<void> Batch::Storage::copy_to_host(std::span<std::byte> to) {
  std::memcpy(to.data(), data(), to.size());
  return {};
}

void Batch::use_on(void* stream) {
  if (storage_) storage_->use_on(stream).value();
}

void Batch::copy_to_host(std::span<std::byte> to) const {
  if (to.size() != size_bytes()) {
    throw ShardreelError({ErrorCode::kInvalidOption,
                          "copying a batch of " + std::to_string(size_bytes()) +
                              " bytes to the host: expected room for just as many, not " +
                              std::to_string(to.size()),
                          {},
                          {},
                          {}});
  }
  if (storage_ && !to.empty()) storage_->copy_to_host(to).value();
}

std::uint64_t Batch::size_bytes() const noexcept {
  if (shape_.empty()) return 0;
  std::uint64_t elements = 1;
  for (const std::int64_t extent : shape_) elements *= static_cast<std::uint64_t>(extent);
  return elements * element_bytes(dtype_);
}

std::span<const std::byte> Batch::clip_bytes(std::size_t clip) const {
  const std::uint64_t each = size_bytes() / static_cast<std::uint64_t>(shape_.at(0));
  return {data() + clip * each, each};
}

}  // namespace shardreel
