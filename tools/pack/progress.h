#pragma once
// How far packing is, on standard error.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace shardreel::tools {

/// Shows inputs done, bytes, rate and the time that is left: one line that is drawn again on a
/// terminal, else a line every ten seconds. A thread of its own writes; counting is safe from any.
class Progress {
 public:
  /// `what` is done to `inputs` samples of `bytes` in all.
  Progress(std::string what, std::uint64_t inputs, std::uint64_t bytes);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  ///< takes the line off the terminal

  void done(std::uint64_t inputs, std::uint64_t bytes) noexcept {
    inputs_ += inputs;
    bytes_ += bytes;
  }

 private:
  void run();
  [[nodiscard]] std::string line() const;

  const std::string what_;
  const std::uint64_t all_inputs_, all_bytes_;
  const bool terminal_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::atomic<std::uint64_t> inputs_ = 0, bytes_ = 0;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  std::thread thread_;  // last: it uses the members above
};

/// The line that `Progress` shows, without colours or line end.
std::string progress_line(const std::string& what, std::uint64_t inputs, std::uint64_t all_inputs,
                          std::uint64_t bytes, std::uint64_t all_bytes, double seconds,
                          bool with_bar);

}  // namespace shardreel::tools
