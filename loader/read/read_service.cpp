#include "loader/read/read_service.h"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <mutex>
#include <optional>
#include <utility>

#include "loader/base/name_thread.h"
#include "loader/read/http/http_url.h"
#include "loader/read/http/remote_shape.h"
#include "loader/read/open_source.h"
#include "loader/read/stoppable.h"

namespace shardreel {

struct ReadService::Pools {
  Pools(std::size_t reader_threads, std::size_t open_shards)
      : files(reader_threads), most_open(open_shards) {}

  boost::asio::thread_pool files;
  const std::size_t most_open;
  std::once_flag once;
  std::optional<boost::asio::thread_pool> blocking;  // made when the first such source is opened
};

ReadService::ReadService(const InputOptions& options, std::size_t lanes, ShardList shards,
                         const RemoteShape& remote, MemoryLedger& ledger,
                         boost::asio::io_context& loop, std::function<void(std::string_view)> warn)
    : options_(options),
      shards_(std::move(shards)),
      ledger_(ledger),
      loop_(loop),
      warn_(std::move(warn)),
      remote_(options, remote, ledger, loop),
      pools_(std::make_unique<Pools>(options.reader_threads, lanes * options.open_shards)) {
  remote_.on_warning(warn_);
}

ReadService::~ReadService() { join(); }

void ReadService::join() noexcept {
  pools_->files.join();
  if (pools_->blocking) pools_->blocking->join();
}

void ReadService::warn_once(std::string topic, const std::string& text) {
  if (!warn_) return;
  {
    const MutexLock lock(mutex_);
    if (!warned_.insert(std::move(topic)).second) return;
  }
  warn_(text);
}

void ReadService::index_ignored(const std::string& url, const Error& why) {
  warn_once("index " + url, fmt::format("the index of {} is not used: {}", url, why.describe()));
}

void ReadService::shard_is_empty(const std::string& url, const std::string& what) {
  warn_once("empty " + url, fmt::format("shard {} gives nothing: {}", url, what));
}

std::map<std::uint64_t, ShardContent> ReadService::contents(
    const std::set<std::uint64_t>& numbers) const {
  const MutexLock lock(mutex_);
  std::map<std::uint64_t, ShardContent> known;
  for (const std::uint64_t number : numbers) {
    if (const auto found = contents_.find(number); found != contents_.end()) known.insert(*found);
  }
  return known;
}

Result<std::optional<ShardContent>> ReadService::look_at(std::uint64_t number,
                                                         const std::stop_token& stop) {
  auto stream = open_source(shards_.at(number), options_, loop_, &remote_, stop);
  if (!stream) return std::move(stream.error());
  return look_at_content(**stream);
}

/// A shard that cannot be looked at is none that a state can be compared by; reading it says why.
void ReadService::note_content(std::uint64_t number, const ByteStream& stream) {
  if (may_block(shards_.at(number)) && !is_remote(shards_.at(number))) return;
  const auto content = look_at_content(stream);
  if (!content || !*content) return;
  const MutexLock lock(mutex_);
  contents_.insert_or_assign(number, **content);
}

void ReadService::note_no_index(std::uint64_t number) {
  const MutexLock lock(mutex_);
  without_index_.insert(number);
}

/// Needs no memory but that of the shard's own stream, which holds one block of its four by now: no
/// wait for what other streams hold.
OpenedIndex ReadService::remote_index(std::uint64_t number, std::uint64_t most_bytes,
                                      const std::stop_token& stop) {
  {
    const MutexLock lock(mutex_);
    if (without_index_.contains(number)) return {};
  }
  const auto open = [&](const std::string& url) -> Result<std::unique_ptr<ByteStream>> {
    auto stream = remote_.open(url, stop);
    if (!stream) return std::move(stream.error());
    return stoppable(std::move(*stream), stop);
  };
  OpenedIndex opened = open_remote_index(shards_.at(number), most_bytes, open);
  if (!opened.index && !stop.stop_requested()) note_no_index(number);
  return opened;
}

std::shared_ptr<ShardSlot> ReadService::open_slot(std::uint64_t number, ShardSlotOptions options,
                                                  std::shared_ptr<Signal> news,
                                                  std::stop_token stop) {
  ++shards_opened_;
  std::string url = shards_.at(number);
  boost::asio::thread_pool* pool = &pools_->files;
  if (may_block(url)) {
    std::call_once(pools_->once, [this] { pools_->blocking.emplace(pools_->most_open); });
    pool = &*pools_->blocking;
  }
  options.index_ignored = [this, number, name = redacted(url)](const Error& why) {
    note_no_index(number);
    index_ignored(name, why);
  };
  // With a cache the shard is here, whole, before its first sample.
  if (is_remote(url) && options_.cache_dir.empty()) {
    options.remote_index = [this, number, stop](std::uint64_t most_bytes) {
      return remote_index(number, most_bytes, stop);
    };
  }
  auto open = [this, number, url, stop = std::move(stop)]() -> Result<std::unique_ptr<ByteStream>> {
    auto stream = open_source(url, options_, loop_, &remote_, stop);
    if (!stream) return stream.error();
    note_content(number, **stream);
    return stoppable(std::move(*stream), stop);
  };
  auto post = [pool](std::function<void()> job) {
    boost::asio::post(*pool, [job = std::move(job)] {
      name_thread("sr-read");
      job();
    });
  };
  return std::make_shared<ShardSlot>(ledger_, redacted(url), std::move(options), std::move(open),
                                     std::move(post), std::move(news));
}

}  // namespace shardreel
