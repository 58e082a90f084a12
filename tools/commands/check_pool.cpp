#include "tools/commands/check_pool.h"

#include <algorithm>
#include <utility>

namespace shardreel::tools {

CheckPool::CheckPool(std::size_t threads, Take take)
    : take_(std::move(take)), most_waiting_(2 * std::max<std::size_t>(threads, 1)) {
  for (std::size_t i = 0; i < std::max<std::size_t>(threads, 1); ++i)
    threads_.emplace_back([this](const std::stop_token& stop) { run(stop); });
}

CheckPool::~CheckPool() {
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();  // joins, while what they use still lives
}

void CheckPool::run(const std::stop_token& stop) {
  const auto decoder = make_cpu_decoder();
  std::unique_lock lock(mutex_);
  while (work_.wait(lock, stop, [this] { return !tasks_.empty(); })) {
    if (stop.stop_requested()) return;
    auto [number, task] = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    SampleChecks result;
    std::exception_ptr problem;
    try {
      result = task(*decoder);
    } catch (...) {
      problem = std::current_exception();
    }
    task = nullptr;  // what it holds goes before its result is known
    lock.lock();
    if (problem && !problem_) problem_ = problem;
    results_.emplace(number, std::move(result));
    done_.notify_one();
  }
}

void CheckPool::take_ready(std::unique_lock<std::mutex>& lock) {
  if (problem_) std::rethrow_exception(std::exchange(problem_, nullptr));
  while (!results_.empty() && results_.begin()->first == next_taken_) {
    SampleChecks result = std::move(results_.extract(results_.begin()).mapped());
    ++next_taken_;
    lock.unlock();
    take_(std::move(result));
    lock.lock();
  }
}

void CheckPool::submit(Task task) {
  std::unique_lock lock(mutex_);
  take_ready(lock);
  while (next_given_ - next_taken_ >= most_waiting_) {
    done_.wait(lock, [this] { return problem_ || results_.contains(next_taken_); });
    take_ready(lock);
  }
  tasks_.emplace_back(next_given_++, std::move(task));
  work_.notify_one();
}

void CheckPool::add(SampleChecks ready) {
  std::unique_lock lock(mutex_);
  results_.emplace(next_given_++, std::move(ready));
  take_ready(lock);
  // Results that wait for a slow task are bounded like tasks.
  while (next_given_ - next_taken_ >= most_waiting_) {
    done_.wait(lock, [this] { return problem_ || results_.contains(next_taken_); });
    take_ready(lock);
  }
}

void CheckPool::finish() {
  std::unique_lock lock(mutex_);
  take_ready(lock);
  while (next_taken_ < next_given_) {
    done_.wait(lock, [this] { return problem_ || results_.contains(next_taken_); });
    take_ready(lock);
  }
}

}  // namespace shardreel::tools
