#pragma once
// Work done by several threads whose results are taken in order.

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace shardreel::tools {

/// Takes [begin, end); gives work(i) for each i in order. Threads are at most twice their number
/// ahead of what was taken. Destroying it asks the work to stop and waits for it. `next` is for one
/// thread; `work` runs on any and must not throw.
template <typename T>
class OrderedWork {
 public:
  using Work = std::function<T(std::size_t, const std::stop_token&)>;

  OrderedWork(std::size_t begin, std::size_t end, std::size_t threads, Work work)
      : work_(std::move(work)),
        given_(begin),
        taken_(begin),
        end_(end),
        ahead_(2 * std::max<std::size_t>(threads, 1)) {
    for (std::size_t i = 0; i < std::max<std::size_t>(threads, 1); ++i) {
      threads_.emplace_back([this](const std::stop_token& stop) { run(stop); });
    }
  }
  OrderedWork(const OrderedWork&) = delete;
  OrderedWork& operator=(const OrderedWork&) = delete;
  ~OrderedWork() {
    for (std::jthread& thread : threads_) thread.request_stop();
    threads_.clear();  // joins, while what they use still lives
  }

  /// The next result; nothing behind the last.
  std::optional<T> next() {
    std::unique_lock lock(mutex_);
    if (taken_ == end_) return std::nullopt;
    done_.wait(lock, [this] { return results_.contains(taken_); });
    std::optional<T> result(std::move(results_.extract(taken_).mapped()));
    ++taken_;
    room_.notify_all();
    return result;
  }

 private:
  void run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    for (;;) {
      const bool go =
          room_.wait(lock, stop, [this] { return given_ == end_ || given_ < taken_ + ahead_; });
      if (!go || given_ == end_) return;
      const std::size_t item = given_++;
      lock.unlock();
      T result = work_(item, stop);
      lock.lock();
      results_.emplace(item, std::move(result));
      done_.notify_one();
    }
  }

  const Work work_;
  std::mutex mutex_;
  std::condition_variable_any room_;
  std::condition_variable done_;
  std::map<std::size_t, T> results_;
  std::size_t given_, taken_;
  const std::size_t end_, ahead_;
  std::vector<std::jthread> threads_;  // last: they use the members above
};

}  // namespace shardreel::tools
