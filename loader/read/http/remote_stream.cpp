#include "loader/read/http/remote_stream.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace shardreel {
namespace {

constexpr std::size_t kHeadBytes = 4096;
constexpr std::size_t kSmallestBlock = std::size_t{64} << 10;
constexpr std::size_t kLargestBlock = std::size_t{4} << 20;
constexpr std::size_t kPage = 4096;

/// Ranges of a quarter of the memory: enough of them to hide a round trip.
std::size_t block_bytes_of(const RemoteShape& shape) {
  const auto quarter = static_cast<std::size_t>(shape.stream_bytes / 4);
  return std::clamp(quarter, kSmallestBlock, kLargestBlock) / kPage * kPage;
}

// How long a reader waits for all it asked for before it takes what came.
constexpr std::chrono::milliseconds kPatience{5};

Error stop_error() { return {ErrorCode::kStopped, "stopped while reading a shard", {}, {}, {}}; }

}  // namespace

RemoteStream::RemoteStream(std::shared_ptr<RemoteCore> core, std::shared_ptr<ObjectTarget> target,
                           const std::stop_token& stop)
    : core_(std::move(core)),
      target_(std::move(target)),
      bound_(std::make_shared<WaitBound>(core_->fetching.policy.deadline)),
      stop_(stop),
      news_(std::make_shared<Signal>()),
      block_bytes_(block_bytes_of(core_->shape)),
      pace_(block_bytes_, static_cast<std::uint32_t>(core_->shape.stream_bytes / block_bytes_)) {}

RemoteStream::~RemoteStream() {
  // Before their memory goes: a cancelled fetch writes nothing any more.
  for (const Range& range : window_) range.fetch->cancel();
}

Result<std::unique_ptr<RemoteStream>> RemoteStream::open(std::shared_ptr<RemoteCore> core,
                                                         std::shared_ptr<ObjectTarget> target,
                                                         const std::stop_token& stop) {
  std::unique_ptr<RemoteStream> stream(new RemoteStream(std::move(core), std::move(target), stop));
  if (auto probed = stream->probe(); !probed) return std::move(probed.error());
  return stream;
}

Result<void> RemoteStream::wait(Signal& news, std::uint64_t seen) const {
  if (news.wait(seen, stop_)) return {};
  return stop_error();
}

/// Wait for the server; the time counts, as what the consumer takes does not.
Result<void> RemoteStream::wait_for_bytes(std::uint64_t seen) const {
  const WaitBound::Wait bounded(*bound_);
  if (!news_->wait_until(seen, stop_, bounded.deadline())) return stop_error();
  if (news_->version() == seen && WaitBound::Clock::now() >= bounded.deadline())
    return waited_too_long(target_->name(), position_, *bound_);
  return {};
}

/// Fetch the beginning: the object's size and version come with it.
Result<void> RemoteStream::probe() {
  while (true) {
    const std::uint64_t seen = core_->freed.version();
    if (ask(static_cast<std::size_t>(pace_.next_bytes()))) break;
    if (auto waited = wait(core_->freed, seen); !waited) return waited;
  }
  while (true) {
    const std::uint64_t seen = news_->version();
    window_.front().fetch->wake_at(kHeadBytes);
    auto progress = window_.front().fetch->progress();
    if (progress.done || progress.filled >= kHeadBytes) {
      if (progress.failure) return std::move(*progress.failure);
      identity_ = std::move(progress.identity);
      next_ = std::min<std::uint64_t>(next_, identity_->size);
      const auto bytes =
          window_.front().block.span().first(std::min(progress.filled, std::size_t{kHeadBytes}));
      object_ = std::make_shared<const RemoteObject>(
          core_, target_, *identity_, std::vector<std::byte>(bytes.begin(), bytes.end()), bound_,
          stop_);
      return {};
    }
    if (auto waited = wait_for_bytes(seen); !waited) return waited;
  }
}

/// Ask for `bytes` from `next_` on; false when there is no memory for them now.
bool RemoteStream::ask(std::size_t bytes) {
  if (idle_.empty()) {
    auto block = RangeBlock::make(core_->windows, block_bytes_);
    if (!block) return false;
    idle_.push_back(std::move(*block));
  }
  Range range{next_, bytes, std::move(idle_.back()), nullptr, false, 0};
  idle_.pop_back();
  range.fetch =
      RangeFetch::start(core_->fetching, {.target = target_,
                                          .first = range.first,
                                          .into = range.block.span().first(bytes),
                                          .expected = identity_,
                                          .urgent = window_.empty(),
                                          .on_progress = [news = news_] { news->raise(); }});
  next_ += bytes;
  window_.push_back(std::move(range));
  return true;
}

void RemoteStream::ask_ahead() {
  while (window_.size() < pace_.ranges() && next_ < identity_->size) {
    if (!window_.empty()) {
      const Range& front = window_.front();
      if (front.first + front.bytes - position_ > pace_.ahead(front.bytes)) return;
    }
    const auto bytes = std::min<std::uint64_t>(pace_.next_bytes(), identity_->size - next_);
    if (!ask(static_cast<std::size_t>(bytes))) return;
  }
}

void RemoteStream::drop_front() {
  Range& range = window_.front();
  range.fetch->cancel();
  idle_.push_back(std::move(range.block));
  window_.pop_front();
}

void RemoteStream::drop_passed() {
  while (!window_.empty() && window_.front().first + window_.front().bytes <= position_) {
    pace_.used(window_.front().bytes, window_.front().waited, std::chrono::steady_clock::now());
    drop_front();
  }
}

bool RemoteStream::go_to(std::uint64_t offset) {
  offset = std::min(offset, identity_->size);
  const std::uint64_t held =
      window_.empty() ? next_ : window_.front().first + window_.front().valid_from;
  position_ = offset;
  if (offset >= held && offset <= next_) return true;
  // Nothing of what was asked for is wanted.
  while (!window_.empty()) drop_front();
  next_ = offset;
  pace_.jump();
  return true;
}

Result<std::size_t> RemoteStream::read(std::span<std::byte> into) {
  if (into.empty()) return std::size_t{0};
  while (true) {
    if (failure_) return *failure_;
    if (position_ >= identity_->size) {
      while (!window_.empty()) drop_front();
      idle_.clear();
      return std::size_t{0};
    }
    drop_passed();
    const std::uint64_t freed = core_->freed.version();
    ask_ahead();
    if (window_.empty()) {  // another stream is about to give memory back
      if (auto waited = wait(core_->freed, freed); !waited) return std::move(waited.error());
      continue;
    }
    auto got = receive(window_.front(), into);
    if (!got || *got > 0) return got;
  }
}

/// From the front range: what is there, else what comes now; 0 = look again.
Result<std::size_t> RemoteStream::receive(Range& range, std::span<std::byte> into) {
  const auto from = static_cast<std::size_t>(position_ - range.first);
  const RangeFetch::Amount amount = range.fetch->amount();
  if (amount.filled > from) {
    const std::size_t count = std::min(into.size(), amount.filled - from);
    std::memcpy(into.data(), range.block.span().data() + from, count);
    position_ += count;
    return count;
  }
  if (amount.done) {
    auto progress = range.fetch->progress();
    failure_ = progress.failure
                   ? std::move(*progress.failure)
                   : Error{ErrorCode::kInternal, "a range ended early", {}, {}, position_};
    return std::size_t{0};
  }
  range.waited = true;
  // A fast link fills `into` soon, and wakes us once. From a slow one take what came, piece by
  // piece.
  const std::uint64_t seen = news_->version();
  if (!range.fetch->aim(from, into)) return std::size_t{0};
  bool stopped = false;
  {
    const WaitBound::Wait bounded(*bound_);
    stopped = !news_->wait_until(seen, stop_, WaitBound::Clock::now() + kPatience);
    // A server that gives a byte now and then is never waited for any longer than this.
    if (!stopped && WaitBound::Clock::now() >= bounded.deadline())
      failure_ = waited_too_long(target_->name(), position_, *bound_);
  }
  const std::size_t count = range.fetch->withdraw();
  position_ += count;
  if (count > 0) {
    range.valid_from = from + count;
    return count;
  }
  if (stopped) return stop_error();
  if (failure_) return std::size_t{0};  // said by who looks again
  const std::uint64_t version = news_->version();
  range.fetch->wake_at(from + 1);
  if (auto waited = wait_for_bytes(version); !waited) {
    failure_ = waited.error();
    return std::move(waited.error());
  }
  return std::size_t{0};
}

}  // namespace shardreel
