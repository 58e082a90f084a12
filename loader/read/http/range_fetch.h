#pragma once
// One range of an object, fetched whole: attempts, resumption at the byte where the last one
// stopped, redirects.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "loader/base/mutex.h"
#include "loader/read/http/http_client.h"
#include "loader/read/http/object_target.h"
#include "loader/read/http/range_answer.h"
#include "loader/read/http/retry_policy.h"
#include "shardreel/error.h"

namespace boost::asio {
class io_context;
}

namespace shardreel {

/// What is counted of all fetches. Relaxed atomics.
struct RemoteCounters {
  std::atomic<std::uint64_t> requests{0}, retries{0}, redirects{0}, bytes{0};
};

/// What all fetches share. The client is not kept alive by what it runs.
struct FetchContext {
  std::weak_ptr<HttpClient> client;
  RetryPolicy policy;
  std::shared_ptr<RemoteCounters> counters;  // shared with the metrics
};

struct RangeOrder {
  std::shared_ptr<ObjectTarget> target;  ///< shared by the fetches of an object
  std::uint64_t first = 0;
  std::span<std::byte> into;               ///< where the bytes go; valid until done or cancelled
  std::optional<ObjectIdentity> expected;  ///< the version of the object, where known
  bool urgent = false;                     ///< somebody waits for it now
  std::function<void()> on_progress;  ///< after bytes came and at the end; on the loop's thread
};

/// Made by `start`. Fills `into` from its beginning; every byte is written once, in order, whatever
/// happens on the way. Thread-safe.
class RangeFetch final : public HttpHandler, public std::enable_shared_from_this<RangeFetch> {
 public:
  static std::shared_ptr<RangeFetch> start(const FetchContext& context, RangeOrder order);
  ~RangeFetch() override;

  struct Progress {
    std::size_t filled = 0;
    bool done = false;             ///< nothing more comes: the range, the object's end or a failure
    std::optional<Error> failure;  ///< with `done`; what was filled before it is good
    std::optional<ObjectIdentity> identity;  ///< once the first answer came
  };
  [[nodiscard]] Progress progress() const;

  /// Give up. When this returns, nothing is written any more and no callback runs or will run.
  void cancel() noexcept;

  // HttpHandler, on the loop's thread.
  bool on_head(const HttpHead& head) override;
  bool on_bytes(std::span<const std::byte> bytes) override;
  void on_done(const HttpOutcome& outcome) override;

 private:
  struct Loop;  // what only the loop's thread touches
  RangeFetch(const FetchContext& context, boost::asio::io_context& loop, RangeOrder order);
  void attempt();
  void send(PreparedRequest request);
  void again(std::string reason, std::optional<std::chrono::milliseconds> retry_after);
  void follow(std::string_view location);
  void ask_at(HttpUrl url);
  void fail(ErrorCode code, std::string reason);
  void finish(std::optional<Error> failure);
  [[nodiscard]] std::size_t filled() const;

  const FetchContext context_;
  const std::shared_ptr<ObjectTarget> target_;
  const std::uint64_t first_;
  const std::size_t bytes_;
  const bool urgent_;
  const std::unique_ptr<Loop> on_loop_;

  mutable Mutex mutex_;
  std::span<std::byte> into_ SHARDREEL_GUARDED_BY(mutex_);
  std::function<void()> on_progress_ SHARDREEL_GUARDED_BY(mutex_);
  Progress progress_ SHARDREEL_GUARDED_BY(mutex_);
  bool cancelled_ SHARDREEL_GUARDED_BY(mutex_) = false;
  HttpClient::Id exchange_ SHARDREEL_GUARDED_BY(mutex_) = 0;
};

}  // namespace shardreel
