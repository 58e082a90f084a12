#include "loader/read/http/remote_object.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "shards/file_access.h"

namespace shardreel {
namespace {

constexpr std::size_t kLargeRead = std::size_t{256} << 10;
constexpr std::size_t kFirstPage = std::size_t{128} << 10;
// A plan has a page for each open video: more for one would be another's.
constexpr std::size_t kPagesOfPart = 1;
constexpr std::size_t kPagesOfObject = 4;

Error stopped() { return {ErrorCode::kStopped, "stopped while reading a shard", {}, {}, {}}; }

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
                           std::shared_ptr<WaitBound> bound, std::stop_token stop)
    : core_(std::move(core)),
      target_(std::move(target)),
      identity_(std::move(identity)),
      head_(std::make_shared<const std::vector<std::byte>>(std::move(head))),
      bound_(std::move(bound)),
      stop_(std::move(stop)),
      size_(identity_.size),
      end_(size_),
      most_pages_(kPagesOfObject) {}

RemoteObject::RemoteObject(const RemoteObject& whole, std::uint64_t begin, std::uint64_t size)
    : core_(whole.core_),
      target_(whole.target_),
      identity_(whole.identity_),
      head_(whole.head_),
      bound_(whole.bound_),
      stop_(whole.stop_),
      begin_(whole.begin_ + begin),
      size_(size),
      end_(std::min(whole.end_, begin_ + size)),
      most_pages_(kPagesOfPart) {}

RemoteObject::~RemoteObject() = default;

std::shared_ptr<const RandomAccess> RemoteObject::part(std::uint64_t offset,
                                                       std::uint64_t size) const {
  return std::shared_ptr<const RandomAccess>(new RemoteObject(*this, offset, size));
}

std::shared_ptr<RangeFetch> RemoteObject::begin(std::uint64_t at, std::span<std::byte> into,
                                                std::shared_ptr<Signal> news) const {
  return RangeFetch::start(core_->fetching,
                           {.target = target_,
                            .first = at,
                            .into = into,
                            .expected = identity_,
                            .urgent = true,
                            .on_progress = [news = std::move(news)] { news->raise(); }});
}

Result<void> RemoteObject::wait_for(Signal& news, std::uint64_t seen, const WaitBound::Wait& wait,
                                    std::uint64_t at) const {
  if (!news.wait_until(seen, stop_, wait.deadline())) return stopped();
  if (news.version() == seen && WaitBound::Clock::now() >= wait.deadline())
    return waited_too_long(target_->name(), at, *bound_);
  return {};
}

Result<std::size_t> RemoteObject::fetch(std::uint64_t at, std::span<std::byte> into) const {
  const auto news = std::make_shared<Signal>();
  const auto fetch = begin(at, into, news);
  const WaitBound::Wait wait(*bound_);
  while (true) {
    const std::uint64_t seen = news->version();
    auto progress = fetch->progress();
    if (progress.done) {
      if (progress.failure) return std::move(*progress.failure);
      return progress.filled;
    }
    if (auto waited = wait_for(*news, seen, wait, at); !waited) {
      fetch->cancel();
      return std::move(waited.error());
    }
  }
}

Result<void> RemoteObject::read_pieces(std::span<const ReadPiece> pieces) const {
  const auto news = std::make_shared<Signal>();
  // Before the memory they write to goes: whatever ends this, no fetch is left.
  struct Fetches {
    std::vector<std::shared_ptr<RangeFetch>> all;
    ~Fetches() {
      for (const auto& fetch : all) fetch->cancel();
    }
  } fetches;
  for (const ReadPiece& piece : pieces) {
    const std::uint64_t at = begin_ + piece.offset;
    if (at > end_ || piece.into.size() > end_ - at) {
      return ends_early(piece.offset, static_cast<std::size_t>(end_ - std::min(at, end_)),
                        piece.into.size());
    }
    if (at + piece.into.size() <= head_->size()) {
      std::copy_n(head_->begin() + static_cast<std::ptrdiff_t>(at), piece.into.size(),
                  piece.into.begin());
    } else {
      fetches.all.push_back(begin(at, piece.into, news));
    }
  }
  const WaitBound::Wait wait(*bound_);
  for (const auto& fetch : fetches.all) {
    while (true) {
      const std::uint64_t seen = news->version();
      auto progress = fetch->progress();
      if (progress.failure) return std::move(*progress.failure);
      if (progress.done) break;
      if (auto waited = wait_for(*news, seen, wait, begin_ + pieces.front().offset); !waited)
        return waited;
    }
  }
  return {};
}

/// The page that holds byte `at` or ends there, else the one that was not used for longest; null
/// when there is no memory for one.
std::shared_ptr<RemoteObject::Page> RemoteObject::page_for(std::uint64_t at) const {
  const MutexLock lock(mutex_);
  std::shared_ptr<Page> chosen;
  for (const auto& page : pages_) {
    if (page->end > page->begin && at >= page->begin && at <= page->end) {
      // Of two, the one that holds the byte: another may end just there.
      if (!chosen || at < page->end) chosen = page;
    }
  }
  if (!chosen && pages_.size() < most_pages_) {
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
  if (offset >= size_ || begin_ + offset >= end_ || into.empty()) return std::size_t{0};
  const std::uint64_t at = begin_ + offset;
  return read_from(
      at, into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), end_ - at))));
}

Result<std::size_t> RemoteObject::read_from(std::uint64_t first, std::span<std::byte> into) const {
  if (first + into.size() <= head_->size()) {
    std::copy_n(head_->begin() + static_cast<std::ptrdiff_t>(first), into.size(), into.begin());
    return into.size();
  }
  if (into.size() >= kLargeRead) return fetch(first, into);
  const auto page = page_for(first);
  if (!page) return fetch(first, into);

  const MutexLock lock(page->mutex);
  std::size_t done = 0;
  while (done < into.size()) {
    const std::uint64_t at = first + done;
    if (at < page->begin || at >= page->end) {
      // Going on where it ended: twice as much as last time. A new place: little.
      const std::uint64_t had = page->end - page->begin;
      const bool goes_on = had > 0 && at == page->end;
      const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(
          {goes_on ? 2 * had : kFirstPage, RemoteShape::kPageBytes, end_ - at}));
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
