#pragma once
// The loader: open it from options, take batches, stop it.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include <shardreel/batch.h>
#include <shardreel/metrics.h>
#include <shardreel/options.h>

namespace shardreel {

enum class LogLevel { kInfo, kWarning };

/// Gets one line of text; called from several threads, one at a time. Must not call `Loader::stop`.
using LogCallback = std::function<void(LogLevel, std::string_view)>;

/// What one lane delivers in one epoch.
struct EpochSize {
  std::uint64_t clips = 0, batches = 0;
};

/// Where a loader stands after the last batches that were handed out, as one JSON object to be kept
/// as it is: positions, the identities in the shuffle, what decides order and pixels. No clips:
/// they are read again. docs/determinism.md says what a resume costs.
struct LoaderState {
  std::string json;
};

/// Feeds batches of clips from tar shards.
///
/// A lane is one device of `devices`; lanes are independent ranks (global rank = rank * lanes +
/// lane). Different lanes may be taken from by different threads at the same time; one lane by one
/// thread at a time.
class Loader {
 public:
  /// Plan the memory, start the threads, begin to read. Throws ShardreelError: kInvalidOption with
  /// every problem of the options, kMemory with the figure that would do.
  /// kStopped when `stop` was asked for meanwhile; afterwards it does nothing.
  static Loader open(const LoaderOptions& options, LogCallback log = {},
                     const std::stop_token& stop = {});
  /// Go on behind the last batches of `from`, as if the run had never stopped. kInvalidOption names
  /// all that differs from the run it was taken from: options that decide order or pixels, shards,
  /// ranks, lanes.
  static Loader open(const LoaderOptions& options, const LoaderState& from, LogCallback log = {},
                     const std::stop_token& stop = {});

  Loader(Loader&&) noexcept;
  Loader& operator=(Loader&&) noexcept;
  ~Loader();  ///< stops

  [[nodiscard]] std::size_t lanes() const noexcept;

  /// Wait for the lane's next batch. Nothing = the epoch is over; the call after that begins the
  /// next epoch, and after the last epoch (`epochs`) gives nothing again. Throws ShardreelError
  /// when the run cannot go on; batches made before the failure are delivered first. After `stop`:
  /// kStopped.
  std::optional<Batch> next(std::size_t lane = 0);

  /// Wait at most `most` for what `next(lane)` gives; whether that would return (or throw) at once.
  /// For callers that have to look at something else now and then.
  [[nodiscard]] bool wait(std::chrono::milliseconds most, std::size_t lane = 0);

  /// Make `epoch` the one that the next call of `next` on each lane begins; what was read ahead is
  /// discarded. After the last epoch (`epochs`) one more comes.
  void set_epoch(std::uint64_t epoch);
  /// The same for one lane.
  void set_epoch(std::uint64_t epoch, std::size_t lane);

  /// Epoch that `next(lane)` delivers from.
  [[nodiscard]] std::uint64_t epoch(std::size_t lane = 0) const;

  /// What `lane` delivers in `epoch`: exact unless clips are lost to damage (with
  /// `batches_per_epoch`, even then). Nothing where that takes a fresh index of every shard and one
  /// is missing. The first call may read them all.
  [[nodiscard]] std::optional<EpochSize> epoch_size(std::uint64_t epoch,
                                                    std::size_t lane = 0) const;

  /// Return the state after what `next` gave last on each lane, also after `stop` and failures.
  /// What another thread is just being given may be in it or not.
  [[nodiscard]] LoaderState state_dict() const;
  /// Stop, and open again with the same options behind `from`; see `open`. Not while another thread
  /// uses this loader.
  void load_state_dict(const LoaderState& from);

  /// Stop everything; waits wake within a second. Safe from any thread but a log callback's, and
  /// more than once.
  void stop() noexcept;

  /// Give back at once what lies idle of every GPU's memory, and take nothing there for two seconds
  /// at least: for a trainer that ran out of it. Return how many bytes came; what is at work comes
  /// when its unit is done, batches when they are let go. Units go to the CPU meanwhile. Safe from
  /// any thread at any time, but not in a log callback; without a GPU there is nothing to give.
  std::uint64_t release_gpu();

  [[nodiscard]] Metrics metrics() const;

  /// The options in force, everything that was unset or automatic decided.
  [[nodiscard]] const LoaderOptions& options() const noexcept;

  /// How rank and world size were decided, for a log: "rank 1 of 4 (RANK and WORLD_SIZE)".
  [[nodiscard]] const std::string& rank_source() const noexcept;

 private:
  class Impl;
  explicit Loader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The memory plan: what `open` would set aside, before anything runs.
struct PlanRow {
  std::string share;  ///< "shuffle", "decode", …
  std::uint64_t bytes = 0;
  std::string why;  ///< how the figure comes about
};
struct MemoryPlanReport {
  std::vector<PlanRow> rows;
  std::vector<PlanRow> gpu_rows;   ///< of each GPU that is used; empty without
  std::string gpu_videos;          ///< whose decoder sessions are in there: assumed, from the index
  std::string gpu_memory_bytes;    ///< the budget of each GPU, as the option says it
  std::uint64_t memory_bytes = 0;  ///< the budget
  std::uint64_t clip_bytes = 0;    ///< of one clip in the shuffle buffer
  std::uint64_t batch_bytes = 0;   ///< of one batch
  std::uint64_t shuffle_clips = 0;   ///< that fit into the shuffle buffer
  std::uint64_t smallest_bytes = 0;  ///< the least memory_bytes these options can run with
  std::optional<EpochSize> epoch;    ///< of this process's first lane, in the first epoch
  std::string epoch_unknown;         ///< why not, else

  [[nodiscard]] std::string table() const;
  [[nodiscard]] std::string to_json() const;
};

/// What a GPU's decoders are planned for where no index says what videos there are.
struct AssumedVideo {
  std::uint32_t width = 0, height = 0;
  std::string codec;       ///< FFmpeg's name, "h264"
  std::uint32_t bits = 8;  ///< of a sample
  /// From "1920x1080:h264", "3840x2160:hevc:10". kInvalidOption.
  static Result<AssumedVideo> parse(std::string_view text);
};

/// Return the plan, or kMemory naming the figure that would do, or kInvalidOption.
Result<MemoryPlanReport> plan(const LoaderOptions& options,
                              const std::optional<AssumedVideo>& assumed = {});

}  // namespace shardreel
