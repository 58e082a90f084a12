#include "loader/read/shard_slot.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "loader/base/trace_range.h"
#include "loader/read/http/remote_shape.h"
#include "shardreel/shard_url.h"

namespace shardreel {
namespace {

constexpr std::size_t kMostItems = 64;  // read ahead at most, however small the samples are
// An index of this size takes the place of the archive reader's buffers, which the plan has.
constexpr std::uint64_t kFreeIndexBytes = std::uint64_t{1} << 20;

/// Whether samples may be left out at all: else no index is worth a request.
bool may_leave_out(const ShardSlotOptions& options) {
  return options.reader.modulo > 1 || options.wants_key;
}

/// Whether going from sample to sample is worth it over a network, where reading all in order comes
/// ahead of its reader and reading by offset does not: a quarter of the bytes or more is not
/// wanted.
bool leaves_out_much(const ShardIndex& index, const ShardSlotOptions& options) {
  std::uint64_t wanted = 0;
  for (std::uint64_t i = 0; i < index.count(); ++i) {
    const IndexedSample sample = index.sample(i);
    if (sample.ordinal % options.reader.modulo != options.reader.remainder) continue;
    if (options.wants_key && !options.wants_key(sample.key)) continue;
    wanted += sample.end_offset - sample.offset;
  }
  return wanted / 3 <= index.shard().bytes / 4;
}

}  // namespace

/// Reserves in the slot's share, then maps. Remembers the charges of the sample being read.
class ShardSlot::Allocator final : public ByteAllocator,
                                   public std::enable_shared_from_this<Allocator> {
 public:
  Allocator(MemoryLedger& ledger, std::uint64_t capacity)
      : share_(ledger, "read ahead", capacity) {}

  std::optional<OwnedBytes> try_allocate(std::size_t bytes) override {
    const std::uint64_t whole = in_pages(bytes);
    auto reservation = share_.try_reserve(whole, MemoryTag::kEncoded);
    if (!reservation) return std::nullopt;
    void* data = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return std::nullopt;
    auto charge = std::make_shared<Reservation>(std::move(*reservation));
    current.push_back(charge);
    return OwnedBytes(static_cast<std::byte*>(data), bytes,
                      [whole, charge, self = shared_from_this()](std::byte* block) {
                        munmap(block, whole);
                        charge->release();
                      });
  }

  /// Whether nothing but the sample being read holds memory: waiting would be in vain.
  [[nodiscard]] bool only_current() const {
    std::uint64_t mine = 0;
    for (const MemberCharge& charge : current) mine += charge->bytes();
    return share_.in_use() <= mine + index_bytes_;
  }

  /// Set aside memory for an index, as long as any of two samples of `largest` bytes still fit.
  std::optional<Reservation> reserve_index(std::uint64_t bytes, std::uint64_t largest) {
    bytes -= std::min(bytes, kFreeIndexBytes);
    if (bytes == 0) return Reservation();
    if (bytes > capacity() || largest > (capacity() - bytes) / 2) return std::nullopt;
    auto reserved = share_.try_reserve(bytes, MemoryTag::kEncoded);
    if (reserved) index_bytes_ = bytes;
    return reserved;
  }

  [[nodiscard]] std::uint64_t capacity() const { return share_.capacity(); }
  void on_release(std::function<void()> callback) { share_.on_release(std::move(callback)); }

  std::vector<MemberCharge> current;  // used by the slot's job only

 private:
  MemoryShare share_;
  std::uint64_t index_bytes_ = 0;  // of the share, used by the slot's job only
};

ShardSlot::ShardSlot(MemoryLedger& ledger, std::string url, ShardSlotOptions options, Open open,
                     Post post, std::shared_ptr<Signal> news)
    : url_(std::move(url)),
      options_(std::move(options)),
      open_(std::move(open)),
      post_(std::move(post)),
      news_(std::move(news)),
      allocator_(std::make_shared<Allocator>(ledger, options_.share_bytes)) {}

ShardSlot::~ShardSlot() = default;

void ShardSlot::kick() {
  {
    const MutexLock lock(mutex_);
    if (ended_) return;
    if (running_) {
      again_ = true;
      return;
    }
    running_ = true;
  }
  post_([self = shared_from_this()] { self->run(); });
}

void ShardSlot::run() {
  if (!reader_) {
    // Freed members, also those of samples that left long ago, make room for the next.
    allocator_->on_release([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->kick();
    });
    if (auto opened = open_or_fail(); !opened) deliver(FailedSample{opened.error(), 0, true});
  }
  for (;;) {
    while (read_one()) {
    }
    const MutexLock lock(mutex_);
    if (ended_ || !again_) {
      running_ = false;
      return;
    }
    again_ = false;
  }
}

bool ShardSlot::read_one() {
  {
    const MutexLock lock(mutex_);
    // One at first, and two more for each that was taken: the first batch waits for the first
    // sample of each shard, and what is read ahead of it takes the cores that decode those.
    if (ended_ || items_.size() >= std::min(kMostItems, 1 + 2 * popped_)) return false;
  }
  ReadStep step = step_or_fail();
  if (std::holds_alternative<NeedsMemory>(step)) {
    bool in_vain = false;
    {
      const MutexLock lock(mutex_);
      in_vain = items_.empty() && allocator_->only_current();
    }
    if (!in_vain) return false;
    // What others held may have come back since the refusal: only a second one, while nobody else
    // can add to the share, says that the sample alone is larger. No waiting will help then.
    step = step_or_fail();
    if (!std::holds_alternative<NeedsMemory>(step)) {
      deliver(std::move(step));
      return true;
    }
    reader_->refuse(too_much_at_once(allocator_->capacity()));
    return true;
  }
  deliver(std::move(step));
  return true;
}

Result<void> ShardSlot::open_or_fail() {
  try {
    auto stream = open_();
    if (!stream) return std::move(stream.error());
    reader_ = make_reader(std::move(*stream));
    return {};
  } catch (const std::exception& error) {
    Error failure{ErrorCode::kIo, std::string("opening the shard: ") + error.what(), {}, {}, {}};
    failure.at(url_);
    return failure;
  }
}

/// The index to read by, if there is one and it is worth it.
OpenedIndex ShardSlot::find_index(const RandomAccess& file, bool remote) const {
  if (remote && !may_leave_out(options_)) return {};
  const bool beside = remote && options_.index_dir.empty();
  if (beside && !options_.remote_index) return {};
  OpenedIndex opened =
      beside ? options_.remote_index(options_.share_bytes) : open_index(url_, options_.index_dir);
  if (remote && opened.index && !leaves_out_much(*opened.index, options_)) opened.index.reset();
  opened.check_fresh(file, url_);
  if (opened.ignored && options_.index_ignored) options_.index_ignored(*opened.ignored);
  return opened;
}

std::unique_ptr<SampleReader> ShardSlot::make_reader(std::unique_ptr<ByteStream> stream) {
  ShardReaderOptions options = options_.reader;
  options.allocator = allocator_.get();
  // Whatever has an index is a file or an object, never a pipe that offers some bytes by offset.
  const bool remote = is_remote(url_);
  auto file = remote || local_shard_path(url_) ? stream->random_access() : nullptr;
  if (file == nullptr) return read_in_order(std::move(stream), url_, std::move(options));
  OpenedIndex opened = find_index(*file, remote);
  const auto largest =
      opened.index ? largest_sample(*opened.index, file->size(), options) : std::nullopt;
  auto charge = largest ? allocator_->reserve_index(
                              opened.index->memory_bytes() + opened.held_bytes, *largest)
                        : std::nullopt;
  if (!charge) return read_in_order(std::move(stream), url_, std::move(options));
  index_charge_ = std::move(*charge);
  index_ = std::move(opened.index);
  return read_by_index(std::move(file), *index_, url_, std::move(options),
                       {.capacity = options_.share_bytes,
                        .wants_key = options_.wants_key,
                        .wants_ordinal = options_.wants_ordinal,
                        .unread = options_.unread});
}

/// One step of the reader; an exception (no memory for a name or a table) ends the shard, not the
/// process.
ReadStep ShardSlot::step_or_fail() {
  if (broken_) return ShardEnd{};
  const TraceRange range("read");
  try {
    return reader_->step();
  } catch (const std::exception& error) {
    broken_ = true;
    Error failure{
        ErrorCode::kInternal, std::string("reading the shard: ") + error.what(), {}, {}, {}};
    failure.at(url_, {}, reader_->position());
    return FailedSample{std::move(failure), 0, true};
  }
}

void ShardSlot::deliver(ReadStep step) {
  ReadItem item;
  item.charges = std::exchange(allocator_->current, {});
  auto* ended = std::get_if<ShardEnd>(&step);
  bool end = ended != nullptr;
  std::uint64_t ordinal = 0;
  bool fatal = false;
  if (auto* sample = std::get_if<Sample>(&step)) {
    ordinal = sample->ordinal;
    item.sample = std::move(*sample);
    item.index = index_;
  } else if (auto* failed = std::get_if<FailedSample>(&step)) {
    ordinal = failed->ordinal;
    fatal = failed->fatal;
    item.failure = std::move(*failed);
    if (!reader_) end = true;  // could not be opened at all
  }
  {
    const MutexLock lock(mutex_);
    if (reader_) position_ = reader_->position();
    const bool mine = fatal || ordinal % options_.reader.modulo == options_.reader.remainder;
    if (!ended_ && mine && (item.sample || item.failure)) items_.push_back(std::move(item));
    ended_ = ended_ || end;
    if (ended != nullptr) empty_ = std::move(ended->empty);
  }
  news_->raise();
}

ShardSlot::State ShardSlot::pop(ReadItem& item) {
  {
    const MutexLock lock(mutex_);
    if (items_.empty()) return ended_ ? State::kEnd : State::kLater;
    item = std::move(items_.front());
    items_.pop_front();
    ++popped_;
  }
  kick();
  return State::kItem;
}

void ShardSlot::cancel() {
  std::deque<ReadItem> dropped;
  const MutexLock lock(mutex_);
  ended_ = true;
  dropped.swap(items_);
}

std::uint64_t ShardSlot::position() const {
  const MutexLock lock(mutex_);
  return position_;
}

std::optional<std::string> ShardSlot::empty() const {
  const MutexLock lock(mutex_);
  return empty_;
}

}  // namespace shardreel
