#pragma once
// What all readers share: the list of shards, the pool of reading threads, the event loop.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>

#include "loader/base/mutex.h"
#include "loader/memory/memory_budget.h"
#include "loader/read/http/remote_sources.h"
#include "loader/read/shard_content.h"
#include "loader/read/shard_slot.h"
#include "shardreel/options.h"
#include "shardreel/shard_url.h"

namespace boost::asio {
class io_context;
}

namespace shardreel {

/// Runs the jobs of shard slots: local files on a pool of `reader_threads`; sources that may block
/// for long (pipes, the network) on a pool with a thread for every shard that can be open, so that
/// a silent one holds up nobody else. `loop` serves pipes and the network.
class ReadService {
 public:
  ReadService(const InputOptions& options, std::size_t lanes, ShardList shards,
              const RemoteShape& remote, MemoryLedger& ledger, boost::asio::io_context& loop,
              std::function<void(std::string_view)> warn = {});
  ReadService(const ReadService&) = delete;
  ReadService& operator=(const ReadService&) = delete;
  ~ReadService();  ///< joins

  /// Wait for the jobs in flight to end; nothing may be opened afterwards. All streams' `stop` must
  /// have been asked for. A read that the kernel does not answer cannot be woken.
  void join() noexcept;

  [[nodiscard]] const ShardList& shards() const noexcept { return shards_; }
  [[nodiscard]] const InputOptions& options() const noexcept { return options_; }

  /// Open a slot that reads shard `number`; `stop` ends what it waits for. It is not started yet.
  std::shared_ptr<ShardSlot> open_slot(std::uint64_t number, ShardSlotOptions options,
                                       std::shared_ptr<Signal> news, std::stop_token stop);

  /// The contents of these shards, as far as they were opened and tell it. Thread-safe.
  [[nodiscard]] std::map<std::uint64_t, ShardContent> contents(
      const std::set<std::uint64_t>& numbers) const;
  /// Open shard `number` for a look at its content now; nothing where it cannot tell.
  Result<std::optional<ShardContent>> look_at(std::uint64_t number, const std::stop_token& stop);

  /// Warn once a run that an index, or a part of it, is not used. Thread-safe.
  void index_ignored(const std::string& url, const Error& why);

  /// Warn once a run that a shard gives nothing, because there is nothing in it. Thread-safe.
  void shard_is_empty(const std::string& url, const std::string& what);

  /// Add what came over the network to the metrics.
  void write_to(Metrics& metrics) const { remote_.write_to(metrics); }

  [[nodiscard]] std::uint64_t shards_opened() const noexcept { return shards_opened_; }

 private:
  struct Pools;
  void warn_once(std::string topic, const std::string& text);
  const InputOptions& options_;
  const ShardList shards_;
  MemoryLedger& ledger_;
  boost::asio::io_context& loop_;
  const std::function<void(std::string_view)> warn_;
  RemoteSources remote_;
  std::atomic<std::uint64_t> shards_opened_{0};
  void note_content(std::uint64_t number, const ByteStream& stream);
  OpenedIndex remote_index(std::uint64_t number, std::uint64_t most_bytes,
                           const std::stop_token& stop);
  void note_no_index(std::uint64_t number);

  mutable Mutex mutex_;
  std::set<std::string> warned_ SHARDREEL_GUARDED_BY(mutex_);                    // topics
  std::map<std::uint64_t, ShardContent> contents_ SHARDREEL_GUARDED_BY(mutex_);  // by number
  // Remote shards that have none beside them to read by: nobody asks again.
  std::set<std::uint64_t> without_index_ SHARDREEL_GUARDED_BY(mutex_);
  std::unique_ptr<Pools> pools_;
};

}  // namespace shardreel
