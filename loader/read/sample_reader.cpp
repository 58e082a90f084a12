#include "loader/read/sample_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "shardreel/units.h"

namespace shardreel {
namespace {

class TarReader final : public SampleReader {
 public:
  TarReader(std::unique_ptr<ByteStream> stream, std::string shard, ShardReaderOptions options)
      : reader_(std::move(stream), std::move(shard), std::move(options)) {}
  ReadStep step() override { return reader_.step(); }
  void refuse(Error error) override { reader_.refuse(std::move(error)); }
  [[nodiscard]] std::uint64_t position() const noexcept override { return reader_.position(); }

 private:
  ShardReader reader_;
};

bool is_video(const ShardReaderOptions& options, const std::string& field) {
  return std::ranges::find(options.large_fields, field) != options.large_fields.end();
}

class IndexedReader final : public SampleReader {
 public:
  IndexedReader(std::shared_ptr<const RandomAccess> file, ShardIndex index, std::string shard,
                ShardReaderOptions options, IndexedReading reading)
      : file_(std::move(file)),
        index_(std::move(index)),
        shard_(std::move(shard)),
        options_(std::move(options)),
        reading_(std::move(reading)) {
    if (options_.allocator == nullptr) options_.allocator = &heap_allocator();
  }

  ReadStep step() override {
    while (true) {
      if (!pending_) {
        if (next_ == index_.count()) return end();
        if (!begin(index_.sample(next_++))) continue;
      }
      if (failure_) return fail();
      while (filled_ < pending_->fields.size()) {
        Field& field = pending_->fields[filled_];
        const std::uint64_t refused = wanted_ ? fill(field) : 0;
        if (refused > 0) return NeedsMemory{refused};
        if (failure_) return fail();
        ++filled_;
      }
      Sample sample = std::move(*pending_);
      pending_.reset();
      return sample;
    }
  }

  void refuse(Error error) override {
    if (!pending_) return;
    error.at(shard_, pending_->key, pending_->fields[filled_].offset);
    failure_ = std::move(error);
  }

  [[nodiscard]] std::uint64_t position() const noexcept override { return position_; }

 private:
  [[nodiscard]] ShardEnd end() const {
    if (index_.count() > 0) return {};
    return {"the archive has no samples, as its index says"};
  }

  /// False when the sample is another rank's.
  bool begin(IndexedSample row) {
    if (row.ordinal % options_.modulo != options_.remainder) return false;
    failure_ = refuse_sample(row, shard_, options_, reading_.capacity);
    wanted_ = begun_++ >= reading_.unread && (!reading_.wants_key || reading_.wants_key(row.key)) &&
              (!reading_.wants_ordinal || reading_.wants_ordinal(row.ordinal));
    filled_ = 0;
    position_ = row.offset;
    pending_.emplace();
    pending_->key = std::move(row.key);
    pending_->shard = shard_;
    pending_->ordinal = row.ordinal;
    pending_->offset = row.offset;
    pending_->end_offset = row.end_offset;
    for (IndexedField& field : row.fields) {
      Field made{std::move(field.name), field.offset, field.size, nullptr, false, true};
      made.content_offset = field.content_offset;
      made.written_name = std::move(field.written_name);
      pending_->fields.push_back(std::move(made));
    }
    return true;
  }

  ReadStep fail() {
    FailedSample failed{std::move(*failure_), pending_->ordinal, false};
    failure_.reset();
    pending_.reset();
    return failed;
  }

  /// Give the field its content; how many bytes of memory were refused, if any.
  std::uint64_t fill(Field& field) {
    if (is_video(options_, field.name)) {
      field.content = slice(file_, field.content_offset, field.size);
      return 0;
    }
    OwnedBytes bytes;
    if (field.size > 0) {
      auto given = options_.allocator->try_allocate(static_cast<std::size_t>(field.size));
      if (!given) return field.size;
      bytes = std::move(*given);
      field.in_memory = true;
    }
    auto got = file_->read_at(field.content_offset, bytes.span());
    if (!got || *got != bytes.size()) {
      failure_ = got ? Error{ErrorCode::kTruncated,
                             fmt::format("field {} by the index: {} bytes, expected {}", field.name,
                                         *got, field.size),
                             {},
                             {},
                             {}}
                     : std::move(got.error());
      failure_->at(shard_, pending_->key, field.offset);
      return 0;
    }
    position_ = field.content_offset + field.size;
    // Shared: a consumer may keep one field's content longer than its sample.
    field.content = memory_source(std::make_shared<const OwnedBytes>(std::move(bytes)));
    return 0;
  }

  const std::shared_ptr<const RandomAccess> file_;  // shared with the ranges that are handed out
  const ShardIndex index_;
  const std::string shard_;
  ShardReaderOptions options_;
  const IndexedReading reading_;
  std::uint64_t next_ = 0;         ///< position in the index
  std::uint64_t begun_ = 0;        ///< samples of this rank
  std::uint64_t position_ = 0;     ///< in the archive
  std::optional<Sample> pending_;  ///< being put together
  std::size_t filled_ = 0;         ///< of its fields
  bool wanted_ = true;
  std::optional<Error> failure_;  ///< of `pending_`
};

}  // namespace

std::uint64_t in_pages(std::uint64_t bytes) {
  return std::max<std::uint64_t>(1, (bytes + 4095) / 4096) * 4096;
}

Error too_much_at_once(std::uint64_t capacity) {
  return Error{
      ErrorCode::kMemory,
      fmt::format("its fields need more than the {} that one open shard may read ahead; raise "
                  "memory_bytes or lower open_shards and open_videos",
                  format_bytes(capacity)),
      {},
      {},
      {}};
}

std::unique_ptr<SampleReader> read_in_order(std::unique_ptr<ByteStream> stream, std::string shard,
                                            ShardReaderOptions options) {
  return std::make_unique<TarReader>(std::move(stream), std::move(shard), std::move(options));
}

std::optional<Error> refuse_sample(const IndexedSample& sample, const std::string& shard,
                                   const ShardReaderOptions& options, std::uint64_t capacity) {
  std::uint64_t held = 0;
  for (const IndexedField& field : sample.fields) {
    auto refused = refuse_size(options, field.name, field.size);
    if (!refused && field.size > 0 && field.size <= options.member_inline_bytes) {
      held += in_pages(field.size);
      if (held > capacity) refused = too_much_at_once(capacity);
    }
    if (!refused) continue;
    refused->at(shard, sample.key, field.offset);
    return refused;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> largest_sample(const ShardIndex& index, std::uint64_t file_bytes,
                                            const ShardReaderOptions& options) {
  if (!index.seekable()) return std::nullopt;
  std::uint64_t largest = 0;
  for (std::uint64_t i = 0; i < index.count(); ++i) {
    const IndexedSample sample = index.sample(i);
    if (sample.fields.empty()) return std::nullopt;  // it could not be read
    std::uint64_t bytes = 0;
    for (const IndexedField& field : sample.fields) {
      if (!field.contiguous || field.content_offset > file_bytes ||
          field.size > file_bytes - field.content_offset)
        return std::nullopt;
      if (field.size <= options.member_inline_bytes && !is_video(options, field.name))
        bytes += in_pages(field.size);
    }
    largest = std::max(largest, bytes);
  }
  return largest;
}

std::unique_ptr<SampleReader> read_by_index(std::shared_ptr<const RandomAccess> file,
                                            ShardIndex index, std::string shard,
                                            ShardReaderOptions options, IndexedReading reading) {
  return std::make_unique<IndexedReader>(std::move(file), std::move(index), std::move(shard),
                                         std::move(options), std::move(reading));
}

}  // namespace shardreel
