#pragma once
// One rank's samples of one epoch, in the interleaved order: open_shards shards give one sample
// each in turn.

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "loader/base/signal.h"
#include "loader/memory/memory_budget.h"
#include "loader/read/shard_plan.h"
#include "loader/read/shard_slot.h"
#include "shardreel/options.h"
#include "shardreel/shard_url.h"

namespace shardreel {

class ReadService;

/// A sample, or a failure in its place.
struct SampleEvent {
  std::uint64_t shard_number = 0;
  ReadItem item;
};

/// Where a stream stands, between two events.
struct StreamPosition {
  struct Turn {
    std::uint64_t shard = 0;  ///< number in the expanded list
    std::uint64_t taken = 0;  ///< events that it gave
    bool open = false;        ///< false: no shard was left for this turn
    friend bool operator==(const Turn&, const Turn&) = default;
  };
  std::uint64_t next_shard = 0;  ///< of the share, to be opened next
  std::uint64_t turn = 0;        ///< that gives the next event
  std::vector<Turn> turns;
  friend bool operator==(const StreamPosition&, const StreamPosition&) = default;
};

/// Whole shards that gave neither a sample nor a failure.
struct EmptyShards {
  std::uint64_t count = 0;
  std::string first;  ///< which one, and what it holds
};

struct SampleStreamOptions {
  ShardShare share;
  std::uint64_t shard_bytes = 0;   ///< memory per open shard
  std::uint64_t inline_bytes = 0;  ///< members up to this are read whole
  std::function<bool(const std::string& key)> wants_key = {};  ///< see IndexedReading
  std::optional<StreamPosition> from = {};  ///< begin there; nothing = at the share's beginning
};

/// How the shards of a stream are opened.
ShardSlotOptions slot_options(const InputOptions& input, const SampleStreamOptions& options);

/// Takes a share of the list; gives its samples and failures in a fixed order. When a shard ends,
/// the next one of the share takes its turn. Waits for the shard whose turn it is. Used by one
/// thread, `waiting_for` by any.
class SampleStream {
 public:
  /// `stop` ends every wait, inside the sources too.
  SampleStream(ReadService& service, SampleStreamOptions options, std::stop_token stop);
  SampleStream(const SampleStream&) = delete;
  SampleStream& operator=(const SampleStream&) = delete;
  ~SampleStream();

  /// Wait for the next event; nothing at the end of the share or when stopped.
  std::optional<SampleEvent> next();

  /// "shard X at byte Y" that `next` waits for; empty when it does not wait.
  [[nodiscard]] std::string waiting_for() const;

  /// Of the shards that ended so far; by the thread that uses it.
  [[nodiscard]] const EmptyShards& empty_shards() const { return empty_; }

  /// Where it stands; by the thread that uses it.
  [[nodiscard]] StreamPosition position() const;

 private:
  struct Turn {
    std::uint64_t shard_number = 0;
    std::uint64_t taken = 0;          // events given
    std::uint64_t to_skip = 0;        // events that were given before the stream began here
    std::shared_ptr<ShardSlot> slot;  // shared with the slot's job in flight
  };
  void open_next(Turn& turn);
  void note_end(const ShardSlot& slot);
  void open(Turn& turn, std::uint64_t shard, std::uint64_t given);

  ReadService& service_;
  const SampleStreamOptions options_;
  const std::stop_token stop_;
  const std::shared_ptr<Signal> news_;  // shared with the slots' jobs
  std::size_t next_shard_ = 0;
  std::vector<Turn> turns_;
  std::size_t turn_ = 0;
  EmptyShards empty_;
  mutable Mutex mutex_;
  std::shared_ptr<ShardSlot> waiting_ SHARDREEL_GUARDED_BY(mutex_);
};

}  // namespace shardreel
