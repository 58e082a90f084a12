#pragma once
// One open shard that is read ahead within its own share of memory.

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/base/signal.h"
#include "loader/memory/memory_budget.h"
#include "loader/read/open_index.h"
#include "loader/read/sample_reader.h"
#include "shardreel/shard_reader.h"

namespace shardreel {

/// Members in memory are mapped one by one: exactly accounted, no heap to fragment. A charge is the
/// reservation behind one of them; it can be moved to another share while the bytes live.
using MemberCharge = std::shared_ptr<Reservation>;  // shared by the bytes and whoever moves it

/// What a slot gives in turn. `sample` or `failure` is set.
struct ReadItem {
  std::optional<Sample> sample;
  std::optional<FailedSample> failure;
  std::vector<MemberCharge> charges;
  std::optional<ShardIndex> index;  ///< that the sample was read by; it may know the video
};

struct ShardSlotOptions {
  ShardReaderOptions reader;  ///< its allocator is replaced by the slot's own
  std::uint64_t share_bytes = 0;
  std::string index_dir;  ///< where indexes are; empty = beside the shards
  /// Looks beside a remote shard for an index of at most so many bytes; empty = nobody does.
  std::function<OpenedIndex(std::uint64_t most_bytes)> remote_index;
  std::function<bool(const std::string& key)> wants_key;  ///< see IndexedReading
  /// The first events are only counted by who pops them: by an index, nothing of them is read.
  std::uint64_t unread = 0;
  /// By an index, nothing is read of samples that this refuses; empty = all are wanted.
  std::function<bool(std::uint64_t ordinal)> wants_ordinal;
  std::function<void(const Error&)> index_ignored;  ///< told why an index is not used
};

/// Takes a shard's URL; gives its samples in order through `pop`, by its index where it has one.
/// Holds at most `share_bytes` of members and 64 samples, one at first. Reading is a chain of short
/// jobs given to `post`; a job never waits for memory: it ends, and `pop` or freed members start
/// the next one. Thread-safe.
class ShardSlot : public std::enable_shared_from_this<ShardSlot> {
 public:
  using Post = std::function<void(std::function<void()>)>;
  using Open = std::function<Result<std::unique_ptr<ByteStream>>()>;

  /// `news` is raised when an item or the end can be popped. The ledger outlives the slot's
  /// members.
  ShardSlot(MemoryLedger& ledger, std::string url, ShardSlotOptions options, Open open, Post post,
            std::shared_ptr<Signal> news);
  ~ShardSlot();

  void start() { kick(); }

  enum class State { kItem, kLater, kEnd };
  /// Take the next item if there is one.
  State pop(ReadItem& item);

  /// Give up: no further job does anything.
  void cancel();

  [[nodiscard]] const std::string& url() const noexcept { return url_; }
  [[nodiscard]] std::uint64_t position() const;  ///< bytes of the archive read so far
  /// At the end: see ShardEnd.
  [[nodiscard]] std::optional<std::string> empty() const;

 private:
  class Allocator;
  void kick();
  void run();
  bool read_one();  // false: the job is over
  Result<void> open_or_fail();
  OpenedIndex find_index(const RandomAccess& file, bool remote) const;
  std::unique_ptr<SampleReader> make_reader(std::unique_ptr<ByteStream> stream);
  ReadStep step_or_fail();
  void deliver(ReadStep step);

  const std::string url_;
  const ShardSlotOptions options_;
  const Open open_;
  const Post post_;
  const std::shared_ptr<Signal> news_;  // shared: a job may outlive the stream that listens
  // Shared with the members' bytes, which may outlive the slot.
  std::shared_ptr<Allocator> allocator_;

  // Used by the running job only (one at a time, `running_` is the baton).
  std::unique_ptr<SampleReader> reader_;
  std::optional<ShardIndex> index_;  // that `reader_` goes by
  Reservation index_charge_;         // what it takes beyond an archive reader's buffers
  bool broken_ = false;

  mutable Mutex mutex_;
  std::deque<ReadItem> items_ SHARDREEL_GUARDED_BY(mutex_);
  std::size_t popped_ SHARDREEL_GUARDED_BY(mutex_) = 0;
  bool running_ SHARDREEL_GUARDED_BY(mutex_) = false;
  bool again_ SHARDREEL_GUARDED_BY(mutex_) = false;  // kicked while running
  bool ended_ SHARDREEL_GUARDED_BY(mutex_) = false;
  std::uint64_t position_ SHARDREEL_GUARDED_BY(mutex_) = 0;
  std::optional<std::string> empty_ SHARDREEL_GUARDED_BY(mutex_);
};

}  // namespace shardreel
