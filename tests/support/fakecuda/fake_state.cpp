#include "tests/support/fakecuda/fake_state.h"

#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace fakecuda {

FakeStream::FakeStream(int device, unsigned delay_us)
    : device_(device), delay_us_(delay_us), thread_([this] { run(); }) {}

FakeStream::~FakeStream() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void FakeStream::push(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    line_.push_back(std::move(work));
  }
  changed_.notify_all();
}

void FakeStream::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return line_.empty() && !busy_; });
}

bool FakeStream::idle() {
  const std::lock_guard lock(mutex_);
  return line_.empty() && !busy_;
}

void FakeStream::run() {
  std::mt19937 random(1234);
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return closed_ || !line_.empty(); });
    if (line_.empty()) return;
    auto work = std::move(line_.front());
    line_.pop_front();
    busy_ = true;
    lock.unlock();
    {
      std::unique_lock paused(state().mutex);
      state().resumed.wait(paused, [] { return !state().paused; });
    }
    // A slow device, not a way to wait for something.
    if (delay_us_ != 0)
      std::this_thread::sleep_for(std::chrono::microseconds(random() % delay_us_));
    work();
    work = nullptr;
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

std::uint64_t State::used_on(int device) const {
  std::uint64_t used = 0;
  for (const auto& [at, block] : blocks) {
    if (block.device == device && block.pool == nullptr) used += block.bytes;
  }
  for (const auto& [handle, pool] : pools) {
    if (pool->device == device) used += pool->reserved;
  }
  return used;
}

const Block* State::find(const std::map<const char*, Block>& among, const void* at,
                         std::uint64_t* offset) const {
  const auto* address = static_cast<const char*>(at);
  auto after = among.upper_bound(address);
  if (after == among.begin()) return nullptr;
  const auto& [begin, block] = *std::prev(after);
  *offset = static_cast<std::uint64_t>(address - begin);
  return *offset < block.bytes ? &block : nullptr;
}

State& state() {
  static State only;
  return only;
}

int& current_device() {
  thread_local int device = 0;
  return device;
}

namespace {
cudaError_t& last_error() {
  thread_local cudaError_t code = cudaSuccess;
  return code;
}
}  // namespace

cudaError_t remember(cudaError_t code) {
  if (code != cudaSuccess) last_error() = code;
  return code;
}

cudaError_t ready() {
  const std::lock_guard lock(state().mutex);
  if (state().failure != cudaSuccess) return remember(state().failure);
  return state().options.devices == 0 ? remember(cudaErrorNoDevice) : cudaSuccess;
}

void configure(const Options& options) {
  if (live() != 0) throw std::logic_error("fakecuda: something is still alive");
  const std::lock_guard lock(state().mutex);
  state().options = options;
  state().failure = cudaSuccess;
  state().fail_in = 0;
  state().paused = false;
  state().misuse.clear();
}

void fail_everything(cudaError_t code) {
  const std::lock_guard lock(state().mutex);
  state().failure = code;
}

void fail_allocation(std::uint64_t nth) {
  const std::lock_guard lock(state().mutex);
  state().fail_in = nth;
}

void pause(bool on) {
  {
    const std::lock_guard lock(state().mutex);
    state().paused = on;
  }
  state().resumed.notify_all();
}

std::size_t live() {
  const std::lock_guard lock(state().mutex);
  const State& s = state();
  return s.blocks.size() + s.pinned.size() + s.streams.size() + s.events.size() + s.pools.size();
}

std::uint64_t pinned_bytes() {
  const std::lock_guard lock(state().mutex);
  std::uint64_t bytes = 0;
  for (const auto& [at, block] : state().pinned) bytes += block.bytes;
  return bytes;
}

void abandon() {
  std::map<void*, std::unique_ptr<FakeStream>> streams;  // ends after the lock, for its threads
  const std::lock_guard lock(state().mutex);
  State& s = state();
  for (const auto* blocks : {&s.blocks, &s.pinned}) {
    for (const auto& [at, block] : *blocks) std::free(const_cast<char*>(at));
  }
  s.blocks.clear();
  s.pinned.clear();
  s.events.clear();
  s.pools.clear();
  streams.swap(s.streams);
}

std::vector<std::string> take_misuse() {
  const std::lock_guard lock(state().mutex);
  return std::exchange(state().misuse, {});
}

void set_kernel(const std::string& mangled_name, KernelBody body) {
  const std::lock_guard lock(state().mutex);
  state().bodies[mangled_name] = std::move(body);
}

}  // namespace fakecuda

extern "C" {

cudaError_t cudaPeekAtLastError() { return fakecuda::last_error(); }
cudaError_t cudaGetLastError() { return std::exchange(fakecuda::last_error(), cudaSuccess); }

const char* cudaGetErrorName(cudaError_t code) {
  switch (code) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    default: return "cudaErrorOther";
  }
}
const char* cudaGetErrorString(cudaError_t code) { return cudaGetErrorName(code); }

}  // extern "C"
