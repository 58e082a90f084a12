#include "loader/read/http/range_fetch.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <random>
#include <utility>

namespace shardreel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMostRedirects = 10;
// An attempt that brought this much was worth its while: the count begins anew.
constexpr std::size_t kRealProgress = std::size_t{64} << 10;
// How much is read at most before the reader may have the lock.
constexpr std::size_t kLockBytes = std::size_t{256} << 10;

}  // namespace

Error waited_too_long(const std::string& name, std::uint64_t at, const WaitBound& bound) {
  return {ErrorCode::kIo,
          fmt::format("reading {}, byte {}: waiting for its bytes took {:.6g} s in all, the "
                      "shard_timeout",
                      name, at, std::chrono::duration<double>(bound.most()).count()),
          {},
          {},
          at};
}

struct RangeFetch::Loop {
  explicit Loop(boost::asio::io_context& loop) : timer(loop), random(std::random_device{}()) {}
  boost::asio::steady_timer timer;
  std::mt19937_64 random;
  Clock::time_point begun = Clock::now();
  std::uint32_t attempts = 0;     // in all
  std::uint32_t fruitless = 0;    // in a row
  std::size_t filled_before = 0;  // when the attempt began
  std::optional<HttpUrl> own;     // the object's own URL
  std::optional<HttpUrl> at;      // where this attempt asks
  std::vector<std::string> own_headers;
  int redirects = 0;
  std::optional<ObjectIdentity> identity;
  RangeAnswer answer;
  std::size_t answer_left = 0;  // bytes of the answer's body still to come
  bool too_long = false;
  bool shown = false;  // that bytes came
};

std::shared_ptr<RangeFetch> RangeFetch::start(const FetchContext& context, RangeOrder order) {
  const auto client = context.client.lock();
  // Nothing is read after the sources are closed: their streams are gone before.
  boost::asio::io_context& loop = client->loop();
  auto expected = order.expected;
  std::shared_ptr<RangeFetch> fetch(new RangeFetch(context, loop, std::move(order)));
  fetch->on_loop_->identity = std::move(expected);
  boost::asio::post(loop, [fetch] { fetch->attempt(); });
  return fetch;
}

RangeFetch::RangeFetch(const FetchContext& context, boost::asio::io_context& loop, RangeOrder order)
    : context_(context),
      target_(std::move(order.target)),
      first_(order.first),
      bytes_(order.into.size()),
      urgent_(order.urgent),
      on_loop_(std::make_unique<Loop>(loop)),
      into_(order.into),
      on_progress_(std::move(order.on_progress)) {}

RangeFetch::~RangeFetch() = default;

RangeFetch::Progress RangeFetch::progress() const {
  const MutexLock lock(mutex_);
  return progress_;
}

RangeFetch::Amount RangeFetch::amount() const {
  const bool done = seen_done_.load(std::memory_order_acquire);  // before what it is final for
  return {seen_filled_.load(std::memory_order_acquire), done};
}

void RangeFetch::wake_at(std::size_t filled) {
  const MutexLock lock(mutex_);
  wake_at_ = filled;
  wake();
}

bool RangeFetch::aim(std::size_t filled, std::span<std::byte> into) {
  HttpClient::Id held = 0;
  {
    const MutexLock lock(mutex_);
    if (cancelled_ || progress_.done || progress_.filled != filled) return false;
    aimed_ = into.first(std::min(into.size(), bytes_ - filled));
    aimed_bytes_ = aimed_.size();
    wake_at_ = filled + aimed_bytes_;
    aim_open_.store(true, std::memory_order_relaxed);
    if (std::exchange(held_, false)) held = exchange_;
  }
  if (const auto client = context_.client.lock(); client && held != 0) client->go_on(held);
  return true;
}

std::size_t RangeFetch::withdraw() {
  if (!aim_open_.load(std::memory_order_acquire)) return std::exchange(aimed_bytes_, 0);
  const MutexLock lock(mutex_);
  aim_open_.store(false, std::memory_order_relaxed);
  wake_at_ = kNever;
  const std::size_t written = std::exchange(aimed_bytes_, 0) - aimed_.size();
  aimed_ = {};
  return written;
}

/// Tell the reader where enough is there.
void RangeFetch::wake() {
  if (progress_.done) seen_done_.store(true, std::memory_order_release);
  if (!progress_.done && progress_.filled < wake_at_) return;
  wake_at_ = kNever;
  if (on_progress_) on_progress_();
}

std::size_t RangeFetch::filled() const {
  const MutexLock lock(mutex_);
  return progress_.filled;
}

void RangeFetch::cancel() noexcept {
  HttpClient::Id exchange = 0;
  {
    const MutexLock lock(mutex_);
    if (cancelled_ || progress_.done) {
      cancelled_ = true;
      on_progress_ = nullptr;
      return;
    }
    cancelled_ = true;
    into_ = aimed_ = {};
    on_progress_ = nullptr;
    exchange = exchange_;
  }
  if (const auto client = context_.client.lock(); client && exchange != 0) client->cancel(exchange);
}

void RangeFetch::attempt() {
  Loop& loop = *on_loop_;
  {
    const MutexLock lock(mutex_);
    if (cancelled_) return;
    loop.filled_before = progress_.filled;
  }
  ++loop.attempts;
  ++loop.fruitless;
  loop.redirects = 0;
  target_->prepare("GET", [self = shared_from_this()](Result<PreparedRequest> request) {
    if (!request) return self->fail(request.error().code, request.error().message);
    self->on_loop_->own = request->url;
    self->on_loop_->own_headers = request->headers;
    if (self->target_->moved_to()) return self->ask_at(*self->target_->moved_to());
    self->send(std::move(*request));
  });
}

void RangeFetch::send(PreparedRequest prepared) {
  Loop& loop = *on_loop_;
  const auto client = context_.client.lock();
  if (!client) return;
  const std::uint64_t from = first_ + filled();
  HttpRequest request;
  request.url = prepared.url.text();
  request.headers = std::move(prepared.headers);
  request.headers.push_back(fmt::format("Range: bytes={}-{}", from, first_ + bytes_ - 1));
  if (loop.identity) {
    std::string condition = condition_header(*loop.identity);
    if (!condition.empty()) request.headers.push_back(std::move(condition));
  }
  request.urgent = urgent_;
  request.bulk = true;
  // A server may not send us to addresses that only the user can have meant; its own is one.
  if (loop.redirects > 0 && prepared.url.host != loop.own->host) {
    const HostReach own = reach_of(loop.own->host);
    request.refuse_machine = own != HostReach::kMachine;
    request.refuse_link = own != HostReach::kLink;
  }
  loop.at = std::move(prepared.url);
  loop.answer = RangeAnswer();
  loop.answer.kind = RangeAnswer::Kind::kRetry;
  loop.too_long = false;
  ++context_.counters->requests;
  const auto id = client->start(std::move(request), shared_from_this());
  const MutexLock lock(mutex_);
  exchange_ = id;
  if (cancelled_) client->cancel(id);
}

bool RangeFetch::on_head(const HttpHead& head) {
  Loop& loop = *on_loop_;
  const std::size_t done = filled();
  loop.answer = judge_range(head, {.first = first_ + done,
                                   .bytes = bytes_ - done,
                                   .expected = loop.identity ? &*loop.identity : nullptr});
  if (loop.answer.kind != RangeAnswer::Kind::kTake) return false;
  loop.answer_left = static_cast<std::size_t>(loop.answer.bytes);
  if (loop.redirects > 0) target_->remember_moved(loop.at);
  loop.identity = loop.answer.identity;
  const MutexLock lock(mutex_);
  progress_.identity = loop.identity;
  return true;
}

bool RangeFetch::on_bytes(std::span<const std::byte> bytes) {
  Loop& loop = *on_loop_;
  const std::size_t take = std::min(bytes.size(), loop.answer_left);
  loop.answer_left -= take;
  context_.counters->bytes += take;
  loop.too_long = take < bytes.size();
  // Copied under the lock: who cancels may take the memory away the moment `cancel` returns.
  const MutexLock lock(mutex_);
  if (cancelled_) return false;
  const std::size_t aimed = std::min(take, aimed_.size());
  if (aimed > 0) {
    std::memcpy(aimed_.data(), bytes.data(), aimed);
    aimed_ = aimed_.subspan(aimed);
    if (aimed_.empty()) aim_open_.store(false, std::memory_order_release);
  }
  if (take > aimed) {
    std::memcpy(into_.data() + progress_.filled + aimed, bytes.data() + aimed, take - aimed);
  }
  progress_.filled += take;
  seen_filled_.store(progress_.filled, std::memory_order_release);
  wake();
  return !loop.too_long;
}

// What is read into the range's own memory is copied once more. So leave bytes where they are for a
// moment when the reader is about to say where it wants them: it has just been given all that it
// asked for, or has not come to this range yet.
HttpHandler::Next RangeFetch::on_body(HttpBody& body) {
  Loop& loop = *on_loop_;
  if (loop.answer_left == 0) {  // whatever comes now is too much
    std::byte more{};
    loop.too_long = body.read({&more, 1}) > 0;
    return loop.too_long ? Next::kCut : Next::kMore;
  }
  // Read under the lock: who cancels may take the memory away the moment `cancel` returns.
  const MutexLock lock(mutex_);
  if (cancelled_) return Next::kCut;
  if (!std::exchange(loop.shown, true) && !urgent_ && aimed_.empty()) {
    held_ = true;
    return Next::kHold;
  }
  held_ = false;
  const bool aimed = !aimed_.empty();
  for (std::size_t taken = 0; taken < kLockBytes && loop.answer_left > 0;) {
    const std::span<std::byte> room = aimed ? aimed_ : into_.subspan(progress_.filled);
    const std::size_t count = body.read(room.first(std::min(room.size(), loop.answer_left)));
    if (count == 0) break;
    taken += count;
    loop.answer_left -= count;
    context_.counters->bytes += count;
    if (aimed) aimed_ = aimed_.subspan(count);
    progress_.filled += count;
    if (aimed && aimed_.empty()) {
      held_ = loop.answer_left > 0;
      break;
    }
  }
  if (aimed && aimed_.empty()) aim_open_.store(false, std::memory_order_release);
  seen_filled_.store(progress_.filled, std::memory_order_release);
  wake();
  return held_ ? Next::kHold : Next::kMore;
}

void RangeFetch::on_done(const HttpOutcome& outcome) {
  using Kind = RangeAnswer::Kind;
  Loop& loop = *on_loop_;
  {
    const MutexLock lock(mutex_);
    exchange_ = 0;
    if (cancelled_) return;
  }
  if (filled() - loop.filled_before >= kRealProgress) loop.fruitless = 1;
  if (loop.answer.kind != Kind::kTake) target_->remember_moved({});
  RangeAnswer& answer = loop.answer;
  const bool answered = outcome.head.status != 0 && answer.kind != Kind::kTake;
  if (answered && !answer.reason.empty()) {
    const std::string words = server_reason(outcome.text);
    if (!words.empty()) answer.reason += ": " + words;
  }
  if (answered && !outcome.failure.empty() && answer.reason.empty())
    answer.reason = outcome.failure;
  switch (answered ? answer.kind : Kind::kTake) {
    case Kind::kEnd: {
      const MutexLock lock(mutex_);
      progress_.identity = answer.identity;
      progress_.done = true;
      wake();
      return;
    }
    case Kind::kRetry: return again(answer.reason, answer.retry_after);
    case Kind::kRedirect: return follow(outcome.head.find("location").value_or(std::string_view()));
    case Kind::kRefused:
      // What a redirect led to may have been for a while only: ask the object's own URL again.
      if (loop.redirects > 0 || target_->refused(answer.reason)) return again(answer.reason, {});
      return fail(answer.code, answer.reason);
    case Kind::kFail: return fail(answer.code, answer.reason);
    case Kind::kTake: break;
  }
  const std::size_t done = filled();
  if (done == bytes_) return finish({});
  if (loop.identity && first_ + done >= loop.identity->size) return finish({});
  if (loop.too_long) return again("the body is longer than its range", {});
  if (outcome.permanent) return fail(ErrorCode::kIo, outcome.failure);
  if (!outcome.failure.empty()) return again(outcome.failure, {});
  if (outcome.head.status != 0 && loop.answer_left > 0) {
    return again("the body is shorter than its range", {});
  }
  if (outcome.head.status == 0) return again("the connection ended without an answer", {});
  // The server gave less than was asked, and said so: go on behind it.
  again(fmt::format("the server gives {} bytes a request", answer.bytes), {});
}

void RangeFetch::follow(std::string_view location) {
  Loop& loop = *on_loop_;
  if (location.empty() || !target_->follows_redirects()) {
    return fail(ErrorCode::kIo, location.empty()
                                    ? "a redirect without a Location"
                                    : fmt::format("redirected to {}, which a signed request cannot "
                                                  "follow; expected the right endpoint and region",
                                                  redacted(location)));
  }
  if (++loop.redirects > kMostRedirects) {
    return fail(ErrorCode::kIo, fmt::format("more than {} redirects", kMostRedirects));
  }
  auto url = resolve_redirect(*loop.at, location);
  if (!url) return fail(ErrorCode::kNotPermitted, "redirected: " + url.error().message);
  const HostReach reach = reach_of(url->host);
  if (reach != HostReach::kAnywhere && reach != reach_of(loop.own->host)) {
    return fail(ErrorCode::kNotPermitted,
                fmt::format("redirected to {}, an address of this machine or link, which only the "
                            "list of shards may name",
                            redacted(url->text())));
  }
  ++context_.counters->redirects;
  ask_at(std::move(*url));
}

/// Ask where a redirect led.
void RangeFetch::ask_at(HttpUrl url) {
  Loop& loop = *on_loop_;
  PreparedRequest request;
  // Credentials and the user's own headers are for the origin they were given for.
  if (url.origin() == loop.own->origin()) request.headers = loop.own_headers;
  request.url = std::move(url);
  request.url.user.clear();
  request.url.password.clear();
  loop.redirects = std::max(loop.redirects, 1);
  send(std::move(request));
}

void RangeFetch::again(std::string reason, std::optional<std::chrono::milliseconds> retry_after) {
  Loop& loop = *on_loop_;
  const RetryPolicy& policy = context_.policy;
  if (loop.fruitless > policy.retries) return fail(ErrorCode::kIo, std::move(reason));
  const auto wait = filled() - loop.filled_before >= kRealProgress && !retry_after
                        ? std::chrono::milliseconds(0)
                        : policy.wait_after(loop.fruitless, loop.random(), retry_after);
  if (Clock::now() + wait - loop.begun > policy.deadline) {
    return fail(ErrorCode::kIo,
                fmt::format("{} (and the deadline of {:.0f} s is over)", reason,
                            std::chrono::duration<double>(policy.deadline).count()));
  }
  ++context_.counters->retries;
  loop.timer.expires_after(wait);
  loop.timer.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (!error) self->attempt();
  });
}

void RangeFetch::fail(ErrorCode code, std::string reason) {
  Loop& loop = *on_loop_;
  const std::uint64_t at = first_ + filled();
  std::string where = target_->name();
  if (loop.at && loop.own && loop.at->origin() != loop.own->origin()) {
    where += " (redirected to " + redacted(loop.at->text()) + ")";
  }
  finish(
      Error{code,
            fmt::format("reading {}, bytes {} to {}: {} (attempt {} of at most {})", where, at,
                        first_ + bytes_ - 1, reason, loop.fruitless, context_.policy.retries + 1),
            {},
            {},
            at});
}

void RangeFetch::finish(std::optional<Error> failure) {
  const MutexLock lock(mutex_);
  progress_.failure = std::move(failure);
  progress_.done = true;
  wake();
}

}  // namespace shardreel
