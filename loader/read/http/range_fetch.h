#pragma once
// One range of an object, fetched whole: attempts, resumption at the byte where the last one
// stopped, redirects.

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "loader/base/mutex.h"
#include "loader/read/http/http_client.h"
#include "loader/read/http/object_target.h"
#include "loader/read/http/range_answer.h"
#include "loader/read/http/retry_policy.h"
#include "loader/read/wait_bound.h"
#include "shardreel/error.h"

namespace boost::asio {
class io_context;
}

namespace shardreel {

/// What is counted of all fetches. Relaxed atomics.
struct RemoteCounters {
  std::atomic<std::uint64_t> requests{0}, retries{0}, redirects{0}, bytes{0};
};

/// The failure of a shard whose readers waited longer than its bound.
Error waited_too_long(const std::string& name, std::uint64_t at, const WaitBound& bound);

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
  /// Where `wake_at` or `aim` asked for it, and at the end; on the loop's thread.
  std::function<void()> on_progress;
};

/// Made by `start`. Fills `into` from its beginning; every byte is written once, in order, whatever
/// happens on the way. Thread-safe, for one reader.
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

  struct Amount {
    std::size_t filled = 0;
    bool done = false;
  };
  /// Of `progress`, what is cheap.
  [[nodiscard]] Amount amount() const;
  /// Call `on_progress` once when `filled` bytes are there; it may be now.
  void wake_at(std::size_t filled);

  /// Write the bytes from `filled` on to `into` instead (no more than the range has), and call
  /// `on_progress` when it is full; false when more than `filled` is there, or all. `into` is not
  /// touched any more once `withdraw` or `cancel` returned.
  [[nodiscard]] bool aim(std::size_t filled, std::span<std::byte> into);
  /// How many bytes were written where `aim` said; the range's own memory has a hole there.
  std::size_t withdraw();

  /// Give up. When this returns, nothing is written any more and no callback runs or will run.
  void cancel() noexcept;

  // HttpHandler, on the loop's thread.
  bool on_head(const HttpHead& head) override;
  bool on_bytes(std::span<const std::byte> bytes) override;
  Next on_body(HttpBody& body) override;
  void on_done(const HttpOutcome& outcome) override;

 private:
  static constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();
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
  void wake() SHARDREEL_REQUIRES(mutex_);

  const FetchContext context_;
  const std::shared_ptr<ObjectTarget> target_;
  const std::uint64_t first_;
  const std::size_t bytes_;
  const bool urgent_;
  const std::unique_ptr<Loop> on_loop_;

  mutable Mutex mutex_;
  std::span<std::byte> into_ SHARDREEL_GUARDED_BY(mutex_);
  std::span<std::byte> aimed_ SHARDREEL_GUARDED_BY(mutex_);  // what is left of it
  std::size_t aimed_bytes_ = 0;                              // the reader's own
  std::size_t wake_at_ SHARDREEL_GUARDED_BY(mutex_) = kNever;
  // For the reader without the mutex, which the loop holds most of the time while bytes come: of
  // `progress_`, and whether `aimed_` is not full. Stored last.
  std::atomic<std::size_t> seen_filled_{0};
  std::atomic<bool> seen_done_{false}, aim_open_{false};
  std::function<void()> on_progress_ SHARDREEL_GUARDED_BY(mutex_);
  Progress progress_ SHARDREEL_GUARDED_BY(mutex_);
  bool cancelled_ SHARDREEL_GUARDED_BY(mutex_) = false;
  bool held_ SHARDREEL_GUARDED_BY(mutex_) = false;  // the loop leaves bytes for the next `aim`
  HttpClient::Id exchange_ SHARDREEL_GUARDED_BY(mutex_) = 0;
};

}  // namespace shardreel
