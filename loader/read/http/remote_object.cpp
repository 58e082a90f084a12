#include "loader/read/http/remote_object.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace shardreel {
namespace {

constexpr std::size_t kLargeRead = std::size_t{256} << 10;
constexpr std::size_t kFirstPage = std::size_t{128} << 10;

}  // namespace

/// A piece of the object in memory. `mutex` is held while it is filled and copied from.
struct RemoteObject::Page {
  explicit Page(RangeBlock memory) : block(std::move(memory)) {}
  RangeBlock block;
  std::uint64_t used = 0;  // guarded by the object's mutex
  // Hints for the search, and the truth for who holds `mutex`.
  std::atomic<std::uint64_t> begin{0}, end{0};
  Mutex mutex;
};

RemoteObject::RemoteObject(std::shared_ptr<RemoteCore> core, std::shared_ptr<ObjectTarget> target,
                           ObjectIdentity identity, std::vector<std::byte> head,
                           std::stop_token stop)
    : core_(std::move(core)),
      target_(std::move(target)),
      identity_(std::move(identity)),
      head_(std::move(head)),
      stop_(std::move(stop)) {}

RemoteObject::~RemoteObject() = default;

Result<std::size_t> RemoteObject::fetch(std::uint64_t offset, std::span<std::byte> into) const {
  const auto news = std::make_shared<Signal>();
  const auto fetch = RangeFetch::start(core_->fetching, {.target = target_,
                                                         .first = offset,
                                                         .into = into,
                                                         .expected = identity_,
                                                         .urgent = true,
                                                         .on_progress = [news] { news->raise(); }});
  while (true) {
    const std::uint64_t seen = news->version();
    auto progress = fetch->progress();
    if (progress.done) {
      if (progress.failure) return std::move(*progress.failure);
      return progress.filled;
    }
    if (!news->wait(seen, stop_)) {
      fetch->cancel();
      return Error{ErrorCode::kStopped, "stopped while reading a shard", {}, {}, {}};
    }
  }
}

/// The page that holds `offset` or ends there, else the one that was not used for longest; null
/// when there is no memory for one.
std::shared_ptr<RemoteObject::Page> RemoteObject::page_for(std::uint64_t offset) const {
  const MutexLock lock(mutex_);
  std::shared_ptr<Page> chosen;
  for (const auto& page : pages_) {
    if (page->end > page->begin && offset >= page->begin && offset <= page->end) {
      // Of two, the one that holds the byte: another may end just there.
      if (!chosen || offset < page->end) chosen = page;
    }
  }
  if (!chosen && pages_.size() < kMostPages) {
    if (auto block = RangeBlock::make(core_->pages, RemoteShape::kPageBytes)) {
      chosen = std::make_shared<Page>(std::move(*block));
      pages_.push_back(chosen);
    }
  }
  if (!chosen && !pages_.empty()) {
    chosen = *std::ranges::min_element(pages_, {}, [](const auto& page) { return page->used; });
  }
  if (chosen) chosen->used = ++clock_;
  return chosen;
}

Result<std::size_t> RemoteObject::read_at(std::uint64_t offset, std::span<std::byte> into) const {
  if (offset >= identity_.size || into.empty()) return std::size_t{0};
  into = into.first(
      static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), identity_.size - offset)));
  if (offset + into.size() <= head_.size()) {
    std::copy_n(head_.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return into.size();
  }
  if (into.size() >= kLargeRead) return fetch(offset, into);
  const auto page = page_for(offset);
  if (!page) return fetch(offset, into);

  const MutexLock lock(page->mutex);
  std::size_t done = 0;
  while (done < into.size()) {
    const std::uint64_t at = offset + done;
    if (at < page->begin || at >= page->end) {
      // Going on where it ended: twice as much as last time. A new place: little.
      const std::uint64_t had = page->end - page->begin;
      const bool goes_on = had > 0 && at == page->end;
      const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(
          {goes_on ? 2 * had : kFirstPage, RemoteShape::kPageBytes, identity_.size - at}));
      page->begin = page->end = 0;
      auto got = fetch(at, page->block.span().first(std::max(want, std::size_t{1})));
      if (!got) return std::move(got.error());
      if (*got == 0) break;
      page->begin = at;
      page->end = at + *got;
    }
    const std::size_t from = static_cast<std::size_t>(at - page->begin);
    const std::size_t count =
        std::min(into.size() - done, static_cast<std::size_t>(page->end - at));
    std::memcpy(into.data() + done, page->block.span().data() + from, count);
    done += count;
  }
  return done;
}

}  // namespace shardreel
