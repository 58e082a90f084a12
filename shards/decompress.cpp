#include "shards/decompress.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "shards/archive_handles.h"

namespace shardreel {
namespace {

constexpr std::size_t kInputBytes = std::size_t{256} << 10;

enum class Compression { kNone, kGzip, kOther };

Compression compression_of(std::span<const std::byte> head) {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  using namespace std::string_view_literals;
  if (text.starts_with("\x1f\x8b\x08"sv)) return Compression::kGzip;
  if (text.size() >= kMagicBytes && text.starts_with("BZh"sv) && text.substr(4, 6) == "1AY&SY"sv) {
    return Compression::kOther;
  }
  if (text.starts_with("\xfd"
                       "7zXZ\0"sv) ||
      text.starts_with("\x5d\0\0\x80"sv) || text.starts_with("\x28\xb5\x2f\xfd"sv)) {
    return Compression::kOther;
  }
  return Compression::kNone;
}

/// The bytes that were read to look at them, then the rest.
class PrefixedStream final : public ByteStream {
 public:
  PrefixedStream(std::vector<std::byte> prefix, std::unique_ptr<ByteStream> rest)
      : prefix_(std::move(prefix)), rest_(std::move(rest)) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    if (given_ == prefix_.size()) return rest_->read(into);
    const std::size_t count = std::min(into.size(), prefix_.size() - given_);
    std::memcpy(into.data(), prefix_.data() + given_, count);
    given_ += count;
    return count;
  }

 private:
  std::vector<std::byte> prefix_;
  std::size_t given_ = 0;
  std::unique_ptr<ByteStream> rest_;
};

/// The compressed side: one block, how far it is used, and the offset for messages.
struct CompressedInput {
  explicit CompressedInput(std::unique_ptr<ByteStream> from)
      : stream(std::move(from)), block(kInputBytes) {}

  /// Fill the block when it is used up; false at the end of the stream.
  Result<bool> refill() {
    if (used < filled) return true;
    if (ended) return false;
    base += filled;
    used = filled = 0;
    auto got = stream->read(block);
    if (!got) return std::move(got.error());
    filled = *got;
    ended = filled == 0;
    std::size_t last = filled;
    while (last > 0 && block[last - 1] == std::byte{0}) --last;
    if (last > 0) nonzero_end = base + last;
    return filled > 0;
  }
  [[nodiscard]] std::uint64_t offset() const { return base + used; }

  /// Read to the end; an error unless everything from offset `end` on is zero (padding of tapes and
  /// block devices).
  Result<void> expect_only_zeros(std::uint64_t end, std::string_view format) {
    while (nonzero_end <= end) {
      used = filled;
      auto more = refill();
      if (!more) return std::move(more.error());
      if (!*more) return {};
    }
    return Error{ErrorCode::kCorruptArchive,
                 fmt::format("compressed byte {}: bytes behind the end of the {} data; expected "
                             "the end of the file",
                             end, format),
                 {},
                 {},
                 {}};
  }

  std::unique_ptr<ByteStream> stream;
  std::vector<std::byte> block;
  std::size_t used = 0;
  std::size_t filled = 0;
  std::uint64_t base = 0;
  std::uint64_t nonzero_end = 0;  ///< behind the last byte that is not zero
  bool ended = false;
};

class GzipStream final : public ByteStream {
 public:
  explicit GzipStream(std::unique_ptr<ByteStream> stream) : input_(std::move(stream)) {}
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;
  ~GzipStream() override {
    if (started_) inflateEnd(&inflate_);
  }

  Result<void> start() {
    // 16: expect a gzip wrapper; zlib then verifies its checksum and length.
    if (inflateInit2(&inflate_, 16 + MAX_WBITS) != Z_OK) {
      return Error{ErrorCode::kMemory, "starting zlib's inflate failed", {}, {}, {}};
    }
    started_ = true;
    return {};
  }

  Result<std::size_t> read(std::span<std::byte> into) override {
    if (done_) return std::size_t{0};
    into = into.first(std::min<std::size_t>(into.size(), std::numeric_limits<uInt>::max()));
    inflate_.next_out = reinterpret_cast<Bytef*>(into.data());
    inflate_.avail_out = static_cast<uInt>(into.size());
    while (inflate_.avail_out == into.size()) {
      auto more = input_.refill();
      if (!more) return std::move(more.error());
      if (!*more) {
        done_ = true;
        return Error{ErrorCode::kTruncated,
                     fmt::format("compressed byte {}: the gzip data ends here; expected more of it "
                                 "and its checksum",
                                 input_.offset()),
                     {},
                     {},
                     {}};
      }
      inflate_.next_in = reinterpret_cast<Bytef*>(input_.block.data() + input_.used);
      inflate_.avail_in = static_cast<uInt>(input_.filled - input_.used);
      const int status = inflate(&inflate_, Z_NO_FLUSH);
      input_.used = input_.filled - inflate_.avail_in;
      if (status == Z_STREAM_END) {
        if (auto next = end_member(); !next) return std::move(next.error());
        if (done_) break;
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        done_ = true;
        return Error{ErrorCode::kCorruptArchive,
                     fmt::format("compressed byte {}: damaged gzip data: {}", input_.offset(),
                                 inflate_.msg != nullptr ? inflate_.msg : zError(status)),
                     {},
                     {},
                     {}};
      }
    }
    return into.size() - inflate_.avail_out;
  }

 private:
  /// Behind a member: another one (all are read, so that nothing is lost), zeros, or the end.
  Result<void> end_member() {
    done_ = true;
    auto more = input_.refill();
    if (!more) return std::move(more.error());
    if (!*more) return {};
    if (input_.block[input_.used] != std::byte{0x1f}) {
      return input_.expect_only_zeros(input_.offset(), "gzip");
    }
    done_ = false;
    inflateReset(&inflate_);
    return {};
  }

  CompressedInput input_;
  bool started_ = false;
  bool done_ = false;
  z_stream inflate_{};
};

/// bzip2, xz, lzma and zstd through libarchive's filters; their checksums are verified by the
/// libraries below it.
class FilterStream final : public ByteStream {
 public:
  explicit FilterStream(std::unique_ptr<ByteStream> stream) : input_(std::move(stream)) {}

  Result<void> start() {
    handle_.reset(archive_read_new());
    if (handle_ == nullptr) {
      return Error{ErrorCode::kMemory, "making a libarchive handle failed", {}, {}, {}};
    }
    archive* handle = handle_.get();
    archive_read_support_filter_bzip2(handle);
    archive_read_support_filter_xz(handle);
    archive_read_support_filter_lzma(handle);
    archive_read_support_filter_zstd(handle);
    archive_read_support_format_raw(handle);
    archive_read_support_format_empty(handle);  // a compressed stream of nothing
    archive_entry* entry = nullptr;
    if (archive_read_open(handle, this, nullptr, &FilterStream::give_block, nullptr) !=
        ARCHIVE_OK) {
      return failure();
    }
    const int status = archive_read_next_header(handle, &entry);
    if (status == ARCHIVE_EOF) {
      done_ = true;
      return {};
    }
    if (status < ARCHIVE_WARN) return failure();
    return {};
  }

  Result<std::size_t> read(std::span<std::byte> into) override {
    if (done_) return std::size_t{0};
    const la_ssize_t got = archive_read_data(handle_.get(), into.data(), into.size());
    if (got > 0) return static_cast<std::size_t>(got);
    done_ = true;
    if (got < 0) return failure();
    // libarchive stops behind bzip2 data without a look at what follows; what it used of the input
    // is the position of the last filter.
    const auto used = static_cast<std::uint64_t>(archive_filter_bytes(handle_.get(), -1));
    auto rest = input_.expect_only_zeros(used, "compressed");
    if (!rest) return std::move(rest.error());
    return std::size_t{0};
  }

 private:
  static la_ssize_t give_block(archive* handle, void* self, const void** block) noexcept {
    auto& stream = *static_cast<FilterStream*>(self);
    try {
      stream.input_.used = stream.input_.filled;
      auto more = stream.input_.refill();
      if (more) {
        *block = stream.input_.block.data();
        return static_cast<la_ssize_t>(stream.input_.filled);
      }
      stream.error_ = std::move(more.error());
    } catch (const std::exception& problem) {
      stream.error_ = Error{ErrorCode::kInternal, problem.what(), {}, {}, {}};
    }
    archive_set_error(handle, EIO, "reading the compressed stream failed");
    return -1;
  }

  Error failure() {
    done_ = true;
    if (error_) return *error_;
    const char* text = archive_error_string(handle_.get());
    const bool cut = input_.ended;
    return Error{
        cut ? ErrorCode::kTruncated : ErrorCode::kCorruptArchive,
        fmt::format("compressed byte {}: damaged or cut compressed data: {}",
                    input_.base + input_.filled, text != nullptr ? text : "no reason given"),
        {},
        {},
        {}};
  }

  CompressedInput input_;
  bool done_ = false;
  std::optional<Error> error_;
  ArchiveReadHandle handle_;
};

template <typename Stream>
Result<std::unique_ptr<ByteStream>> started(std::unique_ptr<Stream> stream) {
  if (auto ready = stream->start(); !ready) return std::move(ready.error());
  return std::unique_ptr<ByteStream>(std::move(stream));
}

}  // namespace

bool is_compressed(std::span<const std::byte> head) {
  return compression_of(head) != Compression::kNone;
}

Result<std::vector<std::byte>> look_ahead(std::unique_ptr<ByteStream>& stream, std::size_t bytes) {
  std::vector<std::byte> head(bytes);
  std::size_t filled = 0;
  const auto file = stream->random_access();
  while (filled < head.size()) {
    const auto into = std::span(head).subspan(filled);
    auto got = file ? file->read_at(filled, into) : stream->read(into);
    if (!got) return std::move(got.error());
    if (*got == 0) break;
    filled += *got;
  }
  head.resize(filled);
  if (filled == 0) {
    return Error{ErrorCode::kTruncated,
                 "the shard is empty (0 bytes); an archive without members has 1024 zero bytes",
                 {},
                 {},
                 std::uint64_t{0}};
  }
  if (file == nullptr) stream = std::make_unique<PrefixedStream>(head, std::move(stream));
  return head;
}

Result<std::unique_ptr<ByteStream>> decompressed(std::unique_ptr<ByteStream> stream) {
  const auto head = look_ahead(stream, kMagicBytes);
  if (!head) return head.error();
  switch (compression_of(*head)) {
    case Compression::kGzip: return started(std::make_unique<GzipStream>(std::move(stream)));
    case Compression::kOther: return started(std::make_unique<FilterStream>(std::move(stream)));
    case Compression::kNone: break;
  }
  return stream;
}

}  // namespace shardreel
