#pragma once
// The door to shards over the network: from a URL to a stream.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "loader/memory/memory_budget.h"
#include "loader/read/http/credential_store.h"
#include "loader/read/http/object_target.h"
#include "loader/read/http/remote_core.h"
#include "loader/read/http/shard_cache.h"
#include "shardreel/byte_source.h"
#include "shardreel/metrics.h"
#include "shardreel/options.h"

namespace shardreel {

/// Opens remote shards; holds the connections they share. Thread-safe. Streams and objects may
/// outlive it, but read nothing more then. The ledger outlives them all.
class RemoteSources {
 public:
  RemoteSources(const InputOptions& options, const RemoteShape& shape, MemoryLedger& ledger,
                boost::asio::io_context& loop);
  RemoteSources(const RemoteSources&) = delete;
  RemoteSources& operator=(const RemoteSources&) = delete;
  ~RemoteSources();

  /// What the user should know goes to `warn`, from any thread, each kind once. Set before use.
  void on_warning(std::function<void(std::string_view)> warn) { warn_ = std::move(warn); }

  /// Open `url` and wait for the server's first answer; with `cache_dir`, until the shard is there.
  Result<std::unique_ptr<ByteStream>> open(const std::string& url, const std::stop_token& stop);

  /// Add what came over the network so far to the metrics.
  void write_to(Metrics& metrics) const;

 private:
  std::shared_ptr<RemoteCore> core();
  Result<std::shared_ptr<ObjectTarget>> target_of(const std::string& url);
  Result<std::shared_ptr<ObjectTarget>> s3_object(const std::string& url);
  Result<std::shared_ptr<ObjectTarget>> gs_object(const std::string& url);
  std::shared_ptr<CredentialStore> credentials(bool google);
  ShardCache* cache();
  Result<std::unique_ptr<ByteStream>> open_cached(ShardCache& cache,
                                                  const std::shared_ptr<ObjectTarget>& target,
                                                  const std::stop_token& stop);
  void warn_of_cache(const Error& error);

  const InputOptions& options_;
  const RemoteShape shape_;
  MemoryLedger& ledger_;
  boost::asio::io_context& loop_;
  std::function<void(std::string_view)> warn_;
  std::atomic<bool> warned_{false};
  mutable Mutex mutex_;
  std::unique_ptr<ShardCache> cache_ SHARDREEL_GUARDED_BY(mutex_);
  bool no_cache_ SHARDREEL_GUARDED_BY(mutex_) = false;  // it could not be opened
  // Made when the first remote shard is opened; shared with the streams.
  std::shared_ptr<RemoteCore> core_ SHARDREEL_GUARDED_BY(mutex_);
  std::shared_ptr<CredentialStore> aws_ SHARDREEL_GUARDED_BY(mutex_);     // shared by targets
  std::shared_ptr<CredentialStore> google_ SHARDREEL_GUARDED_BY(mutex_);  // shared by targets
};

}  // namespace shardreel
