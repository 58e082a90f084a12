#pragma once
// What the fake runtime's two halves share.

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "tests/support/fakecuda/fakecuda.h"

namespace fakecuda {

class FakeStream {
 public:
  FakeStream(int device, unsigned delay_us);
  ~FakeStream();
  void push(std::function<void()> work);
  void drain();
  [[nodiscard]] bool idle();
  [[nodiscard]] int device() const { return device_; }

 private:
  void run();
  const int device_;
  const unsigned delay_us_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> line_;
  bool busy_ = false, closed_ = false;
  std::thread thread_;
};

struct FakeEvent {
  std::mutex mutex;
  std::condition_variable changed;
  std::uint64_t recorded = 0, reached = 0;
  void wait(std::uint64_t place) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return reached >= place; });
  }
  std::uint64_t place() {
    const std::lock_guard lock(mutex);
    return recorded;
  }
};

struct FakePool {
  int device = 0;
  std::uint64_t most = 0, used = 0, reserved = 0;  // reserved: kept from the device
};

struct Block {
  std::uint64_t bytes = 0;
  int device = 0;
  FakePool* pool = nullptr;
};

struct State {
  std::mutex mutex;
  std::condition_variable resumed;
  Options options;
  cudaError_t failure = cudaSuccess;
  std::uint64_t fail_in = 0;
  bool paused = false;
  std::map<const char*, Block> blocks, pinned;
  std::map<void*, std::unique_ptr<FakeStream>> streams;
  std::map<void*, std::shared_ptr<FakeEvent>> events;
  std::map<void*, std::unique_ptr<FakePool>> pools;
  std::vector<std::string> misuse;
  std::map<const void*, std::string> kernels;
  std::map<std::string, KernelBody> bodies;

  /// The rest is called with `mutex` held.
  void complain(const std::string& what) { misuse.push_back(what); }
  [[nodiscard]] std::uint64_t used_on(int device) const;
  /// The block around an address, or null; the offset in it.
  const Block* find(const std::map<const char*, Block>& among, const void* at,
                    std::uint64_t* offset) const;
};

State& state();
/// The device that is current in this thread.
int& current_device();
cudaError_t remember(cudaError_t code);
/// Whether calls can work at all.
cudaError_t ready();

}  // namespace fakecuda
