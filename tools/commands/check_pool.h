#pragma once
// Checks that run on several threads; what they find comes out in the order they were given.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "loader/decode/video_decoder.h"
#include "tools/commands/verify_sample.h"

namespace shardreel::tools {

/// One thread gives work (`submit`, `add`, `finish`) and gets results through `take`, which is
/// called in the order of the submissions, on that thread. Holds at most twice as many tasks as
/// threads. Each thread has a decoder of its own.
class CheckPool {
 public:
  using Task = std::function<SampleChecks(VideoDecoder&)>;
  using Take = std::function<void(SampleChecks)>;

  CheckPool(std::size_t threads, Take take);
  CheckPool(const CheckPool&) = delete;
  CheckPool& operator=(const CheckPool&) = delete;
  ~CheckPool();  ///< tasks that have not begun are dropped

  /// Wait for room, then hand the task over. What tasks throw comes out here or in `finish`.
  void submit(Task task);
  /// Put a result in its place among those of the tasks.
  void add(SampleChecks ready);
  /// Wait for all tasks and take what is left.
  void finish();

 private:
  void run(const std::stop_token& stop);
  void take_ready(std::unique_lock<std::mutex>& lock);

  const Take take_;
  const std::size_t most_waiting_;
  std::mutex mutex_;
  std::condition_variable_any work_;
  std::condition_variable done_;
  std::deque<std::pair<std::uint64_t, Task>> tasks_;
  std::map<std::uint64_t, SampleChecks> results_;
  std::uint64_t next_given_ = 0, next_taken_ = 0;
  std::exception_ptr problem_;
  std::vector<std::jthread> threads_;  // last: they use the members above
};

}  // namespace shardreel::tools
