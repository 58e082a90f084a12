#include "tools/commands/feed.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "shardreel/loader.h"
#include "shardreel/units.h"
#include "tools/commands/clip_record.h"
#include "tools/commands/feed_report.h"
#include "tools/commands/signal_watch.h"
#include "tools/commands/text_json.h"

namespace shardreel::tools {
namespace {

using Clock = std::chrono::steady_clock;

/// Standard error, with one line at its foot that is written over when it is a terminal.
class Console {
 public:
  void line(std::string_view text) {
    const std::lock_guard lock(mutex_);
    fmt::print(stderr, "{}{}\n", terminal_ ? kClearLine : "", text);
  }
  void progress(std::string_view text) {
    const std::lock_guard lock(mutex_);
    fmt::print(stderr, "{}{}{}", terminal_ ? kClearLine : "", text, terminal_ ? "" : "\n");
    std::fflush(stderr);
  }
  void clear_progress() {
    const std::lock_guard lock(mutex_);
    if (terminal_) fmt::print(stderr, "{}", kClearLine);
  }
  [[nodiscard]] bool terminal() const { return terminal_; }

 private:
  static constexpr std::string_view kClearLine = "\r\x1b[K";
  std::mutex mutex_;
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
};

Error io_error(const std::string& path, std::string_view doing) {
  return Error{ErrorCode::kIo,
               fmt::format("{} '{}': {}", doing, path, std::generic_category().message(errno)),
               {},
               {},
               {}};
}

/// The file of --clips-out. Lanes write whole batches, so that a lane's lines stay together.
class ClipLines {
 public:
  explicit ClipLines(std::string path) : path_(std::move(path)) {
    if (path_.empty()) return;
    file_.reset(std::fopen(path_.c_str(), "we"));
    if (!file_) throw ShardreelError(io_error(path_, "cannot open --clips-out"));
  }
  [[nodiscard]] bool wanted() const { return file_ != nullptr; }
  void write(std::string_view lines) {
    const std::lock_guard lock(mutex_);
    if (std::fwrite(lines.data(), 1, lines.size(), file_.get()) != lines.size()) fail();
  }
  void finish() {
    if (file_ && std::fclose(file_.release()) != 0) fail();
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };
  [[noreturn]] void fail() const {
    throw ShardreelError(io_error(path_, "cannot write --clips-out"));
  }
  std::string path_;
  std::mutex mutex_;
  std::unique_ptr<std::FILE, Close> file_;
};

/// Read the file of --resume.
LoaderState read_state_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                             &std::fclose);
  if (!file) throw ShardreelError(io_error(path, "cannot open --resume"));
  LoaderState state;
  std::vector<char> block(std::size_t{1} << 16);
  while (const std::size_t got = std::fread(block.data(), 1, block.size(), file.get()))
    state.json.append(block.data(), got);
  if (std::ferror(file.get()) != 0) throw ShardreelError(io_error(path, "cannot read --resume"));
  return state;
}

/// Write the file of --state-out; an older one stays until the new one is whole.
void write_state_file(const std::string& path, const LoaderState& state) {
  const std::string part = path + ".part";
  std::FILE* file = std::fopen(part.c_str(), "we");
  if (file == nullptr) throw ShardreelError(io_error(part, "cannot open --state-out"));
  const bool written =
      std::fwrite(state.json.data(), 1, state.json.size(), file) == state.json.size() &&
      std::fflush(file) == 0 && fsync(fileno(file)) == 0;
  if (std::fclose(file) != 0 || !written || std::rename(part.c_str(), path.c_str()) != 0)
    throw ShardreelError(io_error(path, "cannot write --state-out"));
}

/// The consumers: one thread a lane, each keeping its lane's digests.
class Consumers {
 public:
  Consumers(Loader& loader, const FeedCommand& command, ClipLines& lines)
      : loader_(loader),
        max_batches_(command.max_batches),
        pixel_digest_(command.pixel_digest),
        lines_(lines),
        outcomes_(loader.lanes()) {}

  /// Take everything from every lane; return why it ended early, if it did.
  std::optional<Error> run() {
    std::vector<std::thread> threads;
    for (std::size_t lane = 0; lane < outcomes_.size(); ++lane)
      threads.emplace_back([this, lane] { consume(lane); });
    for (std::thread& thread : threads) thread.join();
    return failure_;
  }

  [[nodiscard]] std::vector<LaneOutcome> outcomes() const { return outcomes_; }
  [[nodiscard]] std::optional<double> first_batch_at() const { return first_batch_at_; }

 private:
  void consume(std::size_t lane) {
    ClipDigests digests(pixel_digest_);
    try {
      take_all(lane, digests);
    } catch (const ShardreelError& error) {
      fail(error.error());
    } catch (const std::exception& error) {
      fail(Error{ErrorCode::kInternal, error.what(), {}, {}, {}});
    }
    outcomes_[lane].order = digests.order();
    outcomes_[lane].pixels = digests.pixels();
  }

  void take_all(std::size_t lane, ClipDigests& digests) {
    const std::uint64_t epochs = loader_.options().batch.epochs;
    for (std::uint64_t done = 0; epochs == 0 || done < epochs; ++done) {
      while (const std::optional<Batch> batch = loader_.next(lane)) {
        if (outcomes_[lane].batches == 0) note_first_batch();
        take(lane, *batch, digests);
        if (outcomes_[lane].batches == max_batches_) return;
      }
    }
  }

  void take(std::size_t lane, const Batch& batch, ClipDigests& digests) {
    std::string text;
    std::vector<std::byte> copy;
    if (!batch.on_host() && (pixel_digest_ || lines_.wanted())) {
      copy.resize(batch.size_bytes());
      batch.copy_to_host(copy);
    }
    const std::size_t each = copy.size() / batch.size();
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto pixels = batch.on_host()
                              ? batch.clip_bytes(i)
                              : std::span<const std::byte>(copy).subspan(i * each, each);
      digests.add(batch.clips[i], pixels);
      if (lines_.wanted()) text += clip_line(batch.clips[i], lane, pixels);
    }
    if (lines_.wanted()) lines_.write(text);
    outcomes_[lane].clips += batch.size();
    ++outcomes_[lane].batches;
  }

  void note_first_batch() {
    const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
    const std::lock_guard lock(mutex_);
    if (!first_batch_at_) first_batch_at_ = now.count();
  }

  /// The first failure counts; the other lanes then fail because they are stopped.
  void fail(const Error& error) {
    {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = error;
    }
    loader_.stop();
  }

  Loader& loader_;
  const std::uint64_t max_batches_;
  const bool pixel_digest_;
  ClipLines& lines_;
  std::vector<LaneOutcome> outcomes_;  // one a lane, touched by its thread alone
  std::mutex mutex_;
  std::optional<Error> failure_;
  std::optional<double> first_batch_at_;
};

/// Batches that a lane will deliver in all its epochs, where that is known.
std::optional<std::uint64_t> expected_of_lane(const Loader& loader, std::size_t lane) {
  constexpr std::uint64_t kMostEpochs = 1000;  // each shuffles the list of shards to be counted
  const BatchOptions& batch = loader.options().batch;
  if (batch.epochs == 0) return std::nullopt;
  if (batch.batches_per_epoch) return checked_mul(*batch.batches_per_epoch, batch.epochs);
  if (batch.epochs > kMostEpochs) return std::nullopt;
  std::uint64_t batches = 0;
  for (std::uint64_t i = 0; i < batch.epochs; ++i) {
    const auto size = loader.epoch_size(batch.epoch + i, lane);
    if (!size) return std::nullopt;
    batches += size->batches;
  }
  return batches;
}

/// Batches that the whole run will deliver, where that is known.
std::optional<std::uint64_t> expected_batches(const Loader& loader, std::uint64_t max_batches) {
  std::uint64_t all = 0;
  for (std::size_t lane = 0; lane < loader.lanes(); ++lane) {
    auto batches = expected_of_lane(loader, lane);
    if (max_batches != 0) batches = std::min(batches.value_or(max_batches), max_batches);
    if (!batches || all > UINT64_MAX - *batches) return std::nullopt;
    all += *batches;
  }
  return all;
}

std::string progress_text(const Metrics& now, std::optional<std::uint64_t> expected) {
  const double seconds = std::max(now.seconds, 1e-9);
  std::string text =
      fmt::format("{:.0f} s: {} clips, {:.1f} clips/s, {:.0f} frames/s, memory {}", now.seconds,
                  now.clips, static_cast<double>(now.clips) / seconds,
                  static_cast<double>(now.frames) / seconds, format_bytes(now.pss_bytes));
  if (now.samples_skipped != 0) text += fmt::format(", {} samples skipped", now.samples_skipped);
  if (expected && *expected != 0 && now.batches != 0) {
    const double part = static_cast<double>(now.batches) / static_cast<double>(*expected);
    text += fmt::format(", {:.0f} %, {:.0f} s left", 100 * part, seconds * (1 / part - 1));
  }
  return text;
}

/// Prints progress while it lives: every second on a terminal, else every ten.
class Progress {
 public:
  Progress(const Loader& loader, Console& console, std::uint64_t max_batches)
      : thread_([this, &loader, &console, max_batches] {
          std::optional<std::uint64_t> expected;
          bool asked = false;
          const auto pause = std::chrono::seconds(console.terminal() ? 1 : 10);
          std::unique_lock lock(mutex_);
          while (!wake_.wait_for(lock, pause, [this] { return done_; })) {
            // Not before: a short run should not wait for the indexes of ten thousand shards.
            if (!std::exchange(asked, true)) expected = expected_batches(loader, max_batches);
            console.progress(progress_text(loader.metrics(), expected));
          }
          console.clear_progress();
        }) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::thread thread_;  // last: it uses the members above
};

/// Options that cannot be met are a matter of usage; everything else is the data's or the run's.
int status_of(const Error& error) {
  return error.code == ErrorCode::kInvalidOption ? kExitUsage : kExitFailed;
}

int complain(Console& console, const Error& error, int status) {
  console.line(fmt::format("shardreel feed: {}", for_terminal(error.describe())));
  return status;
}

/// An end without a report.
int refuse(const FeedCommand& command, Console& console, const Error& error, int status) {
  if (command.json) print_error_json(error);
  return complain(console, error, status);
}

int feed(const FeedCommand& command, const LoaderOptions& options, Console& console) {
  ClipLines lines(command.clips_out);
  SignalWatch signals;
  std::stop_source opening;
  signals.on_signal([opening]() mutable { opening.request_stop(); });
  std::optional<Loader> loader;
  try {
    const LogCallback log = [&console](LogLevel level, std::string_view text) {
      console.line(
          fmt::format("{}{}", level == LogLevel::kWarning ? "warning: " : "", for_terminal(text)));
    };
    loader = command.resume.empty()
                 ? Loader::open(options, log, opening.get_token())
                 : Loader::open(options, read_state_file(command.resume), log, opening.get_token());
  } catch (const ShardreelError& error) {
    if (const int signal = signals.received();
        signal != 0 && error.error().code == ErrorCode::kStopped)
      return complain(console, error.error(), 128 + signal);
    // Before anything runs, too little memory is a question of options as well.
    const bool plan_refused = error.error().code == ErrorCode::kMemory;
    return refuse(command, console, error.error(),
                  plan_refused ? kExitUsage : status_of(error.error()));
  }
  signals.on_signal([&loader] { loader->stop(); });

  FeedOutcome outcome;
  outcome.rank_source = loader->rank_source();
  Consumers consumers(*loader, command, lines);
  {
    const Progress progress(*loader, console, command.max_batches);
    outcome.failure = consumers.run();
  }
  signals.on_signal({});
  loader->stop();
  outcome.lanes = consumers.outcomes();
  outcome.first_batch_at = consumers.first_batch_at();
  outcome.signal = signals.received();
  if (outcome.signal != 0 && outcome.failure && outcome.failure->code == ErrorCode::kStopped)
    outcome.failure.reset();
  try {
    lines.finish();
    if (!command.state_out.empty()) write_state_file(command.state_out, loader->state_dict());
  } catch (const ShardreelError& error) {
    if (!outcome.failure) outcome.failure = error.error();
  }

  const Metrics metrics = loader->metrics();
  if (command.json) {
    fmt::print("{}\n", report_json(metrics, loader->options(), outcome));
  } else {
    fmt::print("{}", report_text(metrics, outcome));
  }
  if (const std::string text = unaccounted_memory(metrics); !text.empty())
    console.line(fmt::format("warning: {}", text));
  constexpr std::size_t kShown = 5;
  for (std::size_t i = 0; i < std::min(kShown, metrics.first_failures.size()); ++i) {
    const Error& failure = metrics.first_failures[i];
    if (outcome.failure && failure.message == outcome.failure->message) continue;
    console.line(
        fmt::format("lost ({}): {}", to_string(failure.code), for_terminal(failure.describe())));
  }
  if (metrics.first_failures.size() > kShown)
    console.line("further failures are in --json, details.first_failures");
  if (std::fflush(stdout) != 0)
    return complain(console, io_error("standard output", "cannot write to"), kExitFailed);
  if (outcome.failure) return complain(console, *outcome.failure, status_of(*outcome.failure));
  return outcome.signal != 0 ? 128 + outcome.signal : kExitGood;
}

}  // namespace

int run_feed(const FeedCommand& command) {
  Console console;
  const auto options = read_options(command.flags);
  if (!options) return refuse(command, console, options.error(), kExitUsage);
  try {
    return feed(command, *options, console);
  } catch (const ShardreelError& error) {
    return refuse(command, console, error.error(), status_of(error.error()));
  }
}

}  // namespace shardreel::tools
