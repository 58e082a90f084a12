#include "loader/pipeline/batch_buffers.h"

#include <sys/mman.h>

#include <new>
#include <utility>

#include "loader/memory/block_pool.h"

namespace shardreel {
namespace {

class PooledStorage final : public Batch::Storage {
 public:
  explicit PooledStorage(Block block) : block_(std::move(block)) {}
  std::byte* data() noexcept override { return block_.bytes().data(); }

 private:
  Block block_;
};

/// Pages of its own: what comes from the C heap may stay there when it is freed.
class PagesStorage final : public Batch::Storage {
 public:
  explicit PagesStorage(std::size_t bytes)
      : bytes_(bytes),
        pages_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (pages_ == MAP_FAILED) throw std::bad_alloc();
  }
  PagesStorage(const PagesStorage&) = delete;
  PagesStorage& operator=(const PagesStorage&) = delete;
  ~PagesStorage() override { munmap(pages_, bytes_); }
  std::byte* data() noexcept override { return static_cast<std::byte*>(pages_); }

 private:
  const std::size_t bytes_;
  void* const pages_;
};

/// Host memory is what the consumer gets, as it is.
class HostBuffer final : public BatchBuffer {
 public:
  explicit HostBuffer(std::unique_ptr<Batch::Storage> storage) : storage_(std::move(storage)) {}
  Result<std::byte*> part(std::uint64_t at, std::uint64_t /*bytes*/) override {
    return storage_->data() + at;
  }
  Result<std::unique_ptr<Batch::Storage>> finish(std::uint64_t /*bytes*/) override {
    return std::move(storage_);
  }

 private:
  std::unique_ptr<Batch::Storage> storage_;
};

class HostBuffers final : public BatchBuffers {
 public:
  HostBuffers(std::size_t bytes, std::size_t count)
      : bytes_(BlockPool::block_bytes_for(bytes)), pool_(bytes, count, BlockPool::Ahead::kFirst) {}

  Result<std::unique_ptr<BatchBuffer>> take(const std::stop_token& /*stop*/) override {
    Block block = pool_.take();
    if (!block) return std::unique_ptr<BatchBuffer>();
    return buffer(std::make_unique<PooledStorage>(std::move(block)));
  }
  Result<std::unique_ptr<BatchBuffer>> take_extra(const std::stop_token& /*stop*/) override {
    return buffer(std::make_unique<PagesStorage>(bytes_));
  }
  [[nodiscard]] bool all_in_use() const override { return pool_.in_use() == pool_.count(); }
  [[nodiscard]] std::uint64_t fixed_bytes() const override { return 0; }
  [[nodiscard]] std::uint64_t bytes_in_use() const override { return bytes_; }

 private:
  static std::unique_ptr<BatchBuffer> buffer(std::unique_ptr<Batch::Storage> storage) {
    return std::make_unique<HostBuffer>(std::move(storage));
  }
  const std::size_t bytes_;
  BlockPool pool_;
};

}  // namespace

std::unique_ptr<BatchBuffers> host_batch_buffers(std::size_t bytes, std::size_t count) {
  return std::make_unique<HostBuffers>(bytes, count);
}

Result<std::vector<std::unique_ptr<BatchBuffers>>> make_batch_buffers(
    std::size_t lanes, const std::vector<LaneDevice>& gpus, const LoaderOptions& options,
    std::size_t bytes, std::size_t count) {
  std::vector<std::unique_ptr<BatchBuffers>> all;
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    if (gpus.empty()) {
      all.push_back(host_batch_buffers(bytes, count));
      continue;
    }
    auto buffers = device_batch_buffers(gpus.at(lane), options, bytes, count);
    if (!buffers) return buffers.error();
    all.push_back(std::move(*buffers));
  }
  return all;
}

}  // namespace shardreel
