#include "tools/pack/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "shardreel/units.h"

namespace shardreel::tools {
namespace {

using namespace std::chrono_literals;

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::min(seconds, 359'999.0));
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

std::string progress_line(const std::string& what, std::uint64_t inputs, std::uint64_t all_inputs,
                          std::uint64_t bytes, std::uint64_t all_bytes, double seconds,
                          bool with_bar) {
  constexpr std::size_t kBar = 20;
  // By bytes, because videos differ; by number where they have none.
  const double part =
      all_bytes > 0
          ? static_cast<double>(bytes) / static_cast<double>(all_bytes)
          : (all_inputs > 0 ? static_cast<double>(inputs) / static_cast<double>(all_inputs) : 1.0);
  const double done = std::clamp(part, 0.0, 1.0);
  std::string text = fmt::format("{} ", what);
  if (with_bar) {
    const auto full = static_cast<std::size_t>(done * kBar);
    text += fmt::format("[{:#>{}}{:.>{}}] ", "", full, "", kBar - full);
  }
  const auto rate =
      static_cast<std::uint64_t>(seconds > 0 ? static_cast<double>(bytes) / seconds : 0.0);
  text += fmt::format("{:.0f} %, {} of {} samples, {}, {}/s", 100 * done, inputs, all_inputs,
                      format_bytes(bytes), format_bytes(rate));
  if (done > 0 && done < 1)
    text += fmt::format(", {} left", clock_text(seconds * (1 - done) / done));
  return text;
}

Progress::Progress(std::string what, std::uint64_t inputs, std::uint64_t bytes)
    : what_(std::move(what)),
      all_inputs_(inputs),
      all_bytes_(bytes),
      terminal_(isatty(STDERR_FILENO) == 1),
      thread_([this] { run(); }) {}

Progress::~Progress() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  ended_.notify_one();
  thread_.join();
}

void Progress::run() {
  constexpr const char* kEraseLine = "\r\x1b[K";
  std::unique_lock lock(mutex_);
  while (!ended_.wait_for(lock, terminal_ ? 200ms : 10'000ms, [this] { return end_; })) {
    if (terminal_) {
      fmt::print(stderr, "{}{}", kEraseLine, line());
    } else {
      fmt::print(stderr, "shardreel pack: {}\n", line());
    }
    std::fflush(stderr);
  }
  if (terminal_) fmt::print(stderr, "{}", kEraseLine);
}

std::string Progress::line() const {
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin_;
  return progress_line(what_, inputs_, all_inputs_, bytes_, all_bytes_, seconds.count(), terminal_);
}

}  // namespace shardreel::tools
