#include "loader/read/http/http_exchange.h"

#include <utility>

#include "loader/base/mutex.h"
#include "loader/base/signal.h"

namespace shardreel {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 20;

/// Touched by the loop's thread until `done`, then by the one that waits.
struct Collector final : HttpHandler {
  bool on_head(const HttpHead& /*head*/) override { return true; }
  bool on_bytes(std::span<const std::byte> bytes) override {
    if (answer.body.size() + bytes.size() > kMostBytes) return false;
    answer.body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return true;
  }
  void on_done(const HttpOutcome& outcome) override {
    answer.head = outcome.head;
    failure = outcome.failure;
    {
      const MutexLock lock(mutex);
      done = true;
    }
    news.raise();
  }
  bool is_done() {
    const MutexLock lock(mutex);
    return done;
  }

  HttpAnswer answer;
  std::string failure;
  Signal news;
  Mutex mutex;
  bool done SHARDREEL_GUARDED_BY(mutex) = false;
};

}  // namespace

Result<HttpAnswer> http_exchange(const std::weak_ptr<HttpClient>& client, HttpRequest request,
                                 const std::stop_token& stop) {
  const auto collector = std::make_shared<Collector>();
  HttpClient::Id id = 0;
  if (const auto open = client.lock()) {
    id = open->start(std::move(request), collector);
  } else {
    return Error{ErrorCode::kStopped, "the network client is closed", {}, {}, {}};
  }
  while (true) {
    const std::uint64_t seen = collector->news.version();
    if (collector->is_done()) break;
    if (!collector->news.wait(seen, stop)) {
      if (const auto open = client.lock()) open->cancel(id);
      return Error{ErrorCode::kStopped, "stopped while waiting for an answer", {}, {}, {}};
    }
  }
  if (!collector->failure.empty()) {
    return Error{ErrorCode::kIo, std::move(collector->failure), {}, {}, {}};
  }
  return std::move(collector->answer);
}

}  // namespace shardreel
