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

struct SampleStreamOptions {
  ShardShare share;
  std::uint64_t shard_bytes = 0;   ///< memory per open shard
  std::uint64_t inline_bytes = 0;  ///< members up to this are read whole
  std::function<bool(const std::string& key)> wants_key = {};  ///< see IndexedReading
};

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

 private:
  struct Turn {
    std::uint64_t shard_number = 0;
    std::shared_ptr<ShardSlot> slot;  // shared with the slot's job in flight
  };
  void open_next(Turn& turn);

  ReadService& service_;
  const SampleStreamOptions options_;
  const std::stop_token stop_;
  const std::shared_ptr<Signal> news_;  // shared with the slots' jobs
  std::size_t next_shard_ = 0;
  std::vector<Turn> turns_;
  std::size_t turn_ = 0;
  mutable Mutex mutex_;
  std::shared_ptr<ShardSlot> waiting_ SHARDREEL_GUARDED_BY(mutex_);
};

}  // namespace shardreel
