#include "loader/read/http/remote_sources.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "loader/read/http/hf_target.h"
#include "loader/read/http/http_target.h"
#include "loader/read/http/http_url.h"
#include "loader/read/http/remote_stream.h"
#include "loader/read/http/s3_target.h"
#include "loader/read/wait_bound.h"

namespace shardreel {
namespace {

HttpClientOptions client_options(const InputOptions& options, const RemoteShape& shape) {
  HttpClientOptions client;
  client.connections = shape.connections;
  client.buffer_bytes = shape.connection_bytes;
  client.request_timeout = milliseconds_of(options.request_timeout);
  client.stall_timeout = milliseconds_of(options.stall_timeout);
  client.connect_timeout = std::min(client.connect_timeout, client.stall_timeout);
  client.ca_file = options.ca_file;
  return client;
}

RetryPolicy retry_policy(const InputOptions& options) {
  RetryPolicy policy;
  policy.retries = options.retries;
  policy.deadline = milliseconds_of(options.shard_timeout);
  return policy;
}

}  // namespace

RemoteSources::RemoteSources(const InputOptions& options, const RemoteShape& shape,
                             MemoryLedger& ledger, boost::asio::io_context& loop)
    : options_(options), shape_(shape), ledger_(ledger), loop_(loop) {}

RemoteSources::~RemoteSources() {
  const MutexLock lock(mutex_);
  if (aws_) aws_->close();
  if (google_) google_->close();
}

std::shared_ptr<RemoteCore> RemoteSources::core() {
  const MutexLock lock(mutex_);
  if (!core_) {
    core_ = std::make_shared<RemoteCore>(loop_, client_options(options_, shape_),
                                         retry_policy(options_), shape_, ledger_);
  }
  return core_;
}

void RemoteSources::write_to(Metrics& metrics) const {
  const MutexLock lock(mutex_);
  if (cache_) {
    const CacheCounters& kept = cache_->counters();
    metrics.cache_hits = kept.hits;
    metrics.cache_misses = kept.misses;
    metrics.cache_stored = kept.stored;
    metrics.cache_evicted = kept.evicted;
  }
  if (!core_) return;
  const RemoteCounters& counters = *core_->fetching.counters;
  metrics.remote_requests = counters.requests;
  metrics.remote_retries = counters.retries;
  metrics.remote_redirects = counters.redirects;
  metrics.remote_bytes = counters.bytes;
}

/// Made when first needed: with the environment of that moment. Null when Google's keys are unset.
std::shared_ptr<CredentialStore> RemoteSources::credentials(bool google) {
  const auto client = core()->client;
  const MutexLock lock(mutex_);
  if (!google) {
    if (!aws_) aws_ = std::make_shared<CredentialStore>(client, loop_);
    return aws_;
  }
  const auto environment = process_aws_environment();
  const auto key = environment("GCS_KEY");
  const auto secret = environment("GCS_SECRET");
  if (!google_ && key && secret) {
    AwsCredentials fixed;
    fixed.access_key = *key;
    fixed.secret_key = *secret;
    google_ = std::make_shared<CredentialStore>(client, loop_, std::move(fixed));
  }
  return google_;
}

Result<std::shared_ptr<ObjectTarget>> RemoteSources::s3_object(const std::string& url) {
  const auto store = credentials(false);
  S3Place place;
  place.endpoint = options_.s3_endpoint.empty() ? store->place().endpoint : options_.s3_endpoint;
  place.region = options_.s3_region.empty() ? store->place().region : options_.s3_region;
  return s3_target(url, place, options_.anonymous ? nullptr : store);
}

Result<std::shared_ptr<ObjectTarget>> RemoteSources::gs_object(const std::string& url) {
  const auto environment = process_aws_environment();
  S3Place place;
  place.endpoint = environment("STORAGE_EMULATOR_HOST").value_or("https://storage.googleapis.com");
  place.region = "auto";
  if (options_.anonymous) return s3_target(url, place, nullptr);
  if (const auto store = credentials(true)) return s3_target(url, place, store);
  const auto token = environment("GOOGLE_OAUTH_ACCESS_TOKEN");
  if (!token) {
    return Error{ErrorCode::kNotPermitted,
                 "no credentials for gs://: set GCS_KEY and GCS_SECRET (HMAC keys), or "
                 "GOOGLE_OAUTH_ACCESS_TOKEN; for public buckets set anonymous = true",
                 {},
                 {},
                 {}};
  }
  auto parsed = s3_url(url, place);
  if (!parsed) return std::move(parsed.error());
  return http_target(parsed->text(), {"Authorization: Bearer " + *token});
}

Result<std::shared_ptr<ObjectTarget>> RemoteSources::target_of(const std::string& url) {
  const std::string scheme = lower_case(url.substr(0, url.find("://")));
  if (scheme == "s3") return s3_object(url);
  if (scheme == "gs") return gs_object(url);
  if (scheme == "hf") return hf_target(url, options_.anonymous, process_aws_environment());
  auto headers = expand_headers(options_.http_headers);
  if (!headers) return std::move(headers.error());
  return http_target(url, std::move(*headers));
}

void RemoteSources::warn_of_cache(const Error& error) {
  if (!warned_.exchange(true) && warn_) {
    warn_(fmt::format("remote shards are streamed without cache_dir: {}", error.message));
  }
}

/// Null when there is none, or it cannot be used.
ShardCache* RemoteSources::cache() {
  if (options_.cache_dir.empty()) return nullptr;
  std::optional<Error> failure;
  {
    const MutexLock lock(mutex_);
    if (!cache_ && !no_cache_) {
      auto opened = ShardCache::open(options_.cache_dir, options_.cache_bytes);
      if (opened) {
        cache_ = std::move(*opened);
      } else {
        no_cache_ = true;
        failure = std::move(opened.error());
      }
    }
    if (cache_) return cache_.get();
  }
  if (failure) warn_of_cache(*failure);
  return nullptr;
}

Result<std::unique_ptr<ByteStream>> RemoteSources::open_cached(
    ShardCache& cache, const std::shared_ptr<ObjectTarget>& target, const std::stop_token& stop) {
  // Queries may hold secrets: of the address only its hash is kept beside the shown name.
  const std::string address = target->address();
  const std::string name =
      fmt::format("{} {:016x}", target->name(), XXH3_64bits(address.data(), address.size()));
  if (options_.cache_only) {
    if (auto found = cache.find(name, nullptr, stop)) return std::move(*found);
    return Error{ErrorCode::kNotFound,
                 fmt::format("cache_only, and '{}' has no good copy of it", options_.cache_dir),
                 {},
                 {},
                 {}};
  }
  auto stream = RemoteStream::open(core(), target, stop);
  if (!stream) return std::move(stream.error());
  const ObjectIdentity& version = (*stream)->identity();
  const bool known = !version.etag.empty() || !version.last_modified.empty();
  if (!known) return std::unique_ptr<ByteStream>(std::move(*stream));  // no way to tell versions
  if (auto found = cache.find(name, &version, stop)) return std::move(*found);
  auto stored = cache.store(name, version, **stream, stop);
  if (auto* failure = std::get_if<ShardCache::Failure>(&stored)) {
    if (!failure->disk) return std::move(failure->error);
    warn_of_cache(failure->error);
    stream->reset();  // its memory first: the new one must not wait for it
    stream = RemoteStream::open(core(), target, stop);  // from the beginning
    if (!stream) return std::move(stream.error());
  } else if (auto& made = std::get_if<ShardCache::Stored>(&stored)->stream) {
    return std::move(made);
  }
  return std::unique_ptr<ByteStream>(std::move(*stream));
}

Result<std::unique_ptr<ByteStream>> RemoteSources::open(const std::string& url,
                                                        const std::stop_token& stop) {
  auto target = target_of(url);
  if (!target) return std::move(target.error());
  if (ShardCache* const kept = cache()) return open_cached(*kept, *target, stop);
  if (options_.cache_only) {
    return Error{ErrorCode::kNotFound, "cache_only, and cache_dir cannot be used", {}, {}, {}};
  }
  auto stream = RemoteStream::open(core(), *target, stop);
  if (!stream) return std::move(stream.error());
  return std::unique_ptr<ByteStream>(std::move(*stream));
}

}  // namespace shardreel
