#include "loader/memory/block_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/base/name_thread.h"

namespace shardreel {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;
// Fresh blocks kept faulted in ahead of need, in bytes: enough to hide the page faults of a few
// clips, too little to matter in the plan.
constexpr std::size_t kAheadBytes = std::size_t{4} << 20;

/// Make the pages of a range resident and writable. Never by writing: the block may have been taken
/// meanwhile. Where the kernel cannot do it (before 5.14), the taker's own writes will.
void fault_in([[maybe_unused]] std::byte* data, [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef MADV_POPULATE_WRITE
  madvise(data, bytes, MADV_POPULATE_WRITE);
#endif
}

}  // namespace

struct BlockPool::State {
  std::size_t block_bytes = 0;
  std::size_t count = 0;
  Ahead ahead = Ahead::kNext;
  void* mapping = nullptr;
  std::size_t mapped_bytes = 0;
  std::byte* base = nullptr;  // the mapping's first huge page

  mutable Mutex mutex;
  Condition changed;
  std::vector<std::byte*> free SHARDREEL_GUARDED_BY(mutex);  // resident, the last freed at the back
  std::vector<std::byte*> bare SHARDREEL_GUARDED_BY(mutex);  // whose pages went back
  std::size_t faulted SHARDREEL_GUARDED_BY(mutex) = 0;       // blocks [0, faulted) are resident
  std::size_t fresh SHARDREEL_GUARDED_BY(mutex) = 0;         // blocks [0, fresh) were taken once
  std::size_t out SHARDREEL_GUARDED_BY(mutex) = 0;

  std::jthread worker;  // last: it uses all of the above

  /// Keep some blocks faulted in ahead of the first use, until all are.
  void run(const std::stop_token& stop) {
    const bool first = ahead == Ahead::kFirst;
    const std::size_t blocks = std::max<std::size_t>(1, kAheadBytes / block_bytes);
    for (;;) {
      std::size_t next = 0;
      {
        const MutexLock lock(mutex);
        while (faulted >= std::min(count, first ? 1 : fresh + blocks)) {
          if (faulted >= count || first || !changed.wait(mutex, stop)) return;
        }
        if (stop.stop_requested()) return;
        next = faulted;
      }
      fault_in(base + next * block_bytes, block_bytes);
      const MutexLock lock(mutex);
      faulted = std::max(faulted, next + 1);
    }
  }
};

Block::Block(Block&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Block& Block::operator=(Block&& other) noexcept {
  if (this != &other) {
    if (data_ != nullptr) pool_->give_back(data_);
    pool_ = std::exchange(other.pool_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Block::~Block() {
  if (data_ != nullptr) pool_->give_back(data_);
}

BlockPool::BlockPool(std::size_t block_bytes, std::size_t count, Ahead ahead)
    : state_(std::make_unique<State>()) {
  state_->block_bytes = block_bytes_for(block_bytes);
  if (count > (SIZE_MAX - kHugePageBytes) / state_->block_bytes) throw std::bad_alloc();
  state_->count = count;
  state_->ahead = ahead;
  if (count == 0) return;
  state_->mapped_bytes = state_->block_bytes * count + kHugePageBytes;
  void* mapping = mmap(nullptr, state_->mapped_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  // Faulting in 4 KiB at a time was 5 % of a run that fills a 1 GiB shuffle buffer once; huge
  // pages, where the system has them, cost a fraction of it. A refusal does no harm.
  madvise(mapping, state_->mapped_bytes, MADV_HUGEPAGE);
  state_->mapping = mapping;
  const auto address = reinterpret_cast<std::uintptr_t>(mapping);
  state_->base = static_cast<std::byte*>(mapping) +
                 (kHugePageBytes - address % kHugePageBytes) % kHugePageBytes;
  state_->worker = std::jthread([state = state_.get()](const std::stop_token& stop) {
    name_thread("sr-pages");
    state->run(stop);
  });
}

BlockPool::~BlockPool() {
  if (state_->mapping == nullptr) return;
  state_->worker.request_stop();
  state_->worker.join();
  munmap(state_->mapping, state_->mapped_bytes);
}

std::uint64_t BlockPool::block_bytes_for(std::uint64_t payload) {
  return std::max<std::uint64_t>(1, (payload + kPageBytes - 1) / kPageBytes) * kPageBytes;
}

Block BlockPool::take() {
  std::byte* data = nullptr;
  {
    const MutexLock lock(state_->mutex);
    if (!state_->free.empty()) {
      data = state_->free.back();
      state_->free.pop_back();
    } else if (!state_->bare.empty()) {
      data = state_->bare.back();
      state_->bare.pop_back();
    } else if (state_->fresh < state_->count) {
      // When the worker is behind, the taker's own writes fault the block in.
      data = state_->base + state_->fresh * state_->block_bytes;
      ++state_->fresh;
      state_->faulted = std::max(state_->faulted, state_->fresh);
    } else {
      return {};
    }
    ++state_->out;
  }
  state_->changed.notify_all();
  return Block(this, data, state_->block_bytes);
}

void BlockPool::give_back(std::byte* data) noexcept {
  const MutexLock lock(state_->mutex);
  state_->free.push_back(data);
  --state_->out;
}

void BlockPool::return_free(std::uint64_t bytes, std::uint64_t kept) {
  const std::uint64_t size = state_->block_bytes;
  for (std::uint64_t gone = 0; gone < bytes; gone += size) {
    // One at a time, so that who takes or frees blocks waits for no more than one.
    const MutexLock lock(state_->mutex);
    if (state_->free.empty() || (state_->free.size() - 1) * size < kept) return;
    // The one freed longest ago.
    std::byte* const data = state_->free.front();
    if (madvise(data, size, MADV_DONTNEED) != 0) return;
    state_->free.erase(state_->free.begin());
    state_->bare.push_back(data);
  }
}

std::size_t BlockPool::count() const noexcept { return state_->count; }
std::uint64_t BlockPool::block_bytes() const noexcept { return state_->block_bytes; }

std::size_t BlockPool::in_use() const {
  const MutexLock lock(state_->mutex);
  return state_->out;
}

std::uint64_t BlockPool::resident_bytes() const {
  const MutexLock lock(state_->mutex);
  return (state_->faulted - state_->bare.size()) * state_->block_bytes;
}

}  // namespace shardreel
