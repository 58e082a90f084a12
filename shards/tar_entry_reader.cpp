#include "shards/tar_entry_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "shards/archive_handles.h"
#include "shards/archive_input.h"
#include "shards/decompress.h"
#include "shards/reference_tar_reader.h"

namespace shardreel {
namespace {

using TarBlock = std::array<unsigned char, ArchiveInput::kTarBlock>;

// Below this a content that does not end in the block costs less through the next block: another
// read of its own would leave the blocks small (ArchiveInput::skip).
constexpr std::size_t kDirectBytes = std::size_t{128} << 10;

bool is_zero(const TarBlock& block) {
  return std::all_of(block.begin(), block.end(), [](unsigned char c) { return c == 0; });
}

/// Whether the block is a header: its checksum field, octal, is the sum of its bytes with the field
/// itself taken as spaces. (Old writers summed signed bytes; libarchive has accepted those
/// already.)
bool is_header(const TarBlock& block) {
  constexpr std::size_t kField = 148, kFieldEnd = 156;
  std::int32_t expected = 0;
  std::size_t i = kField;
  while (i < kFieldEnd && block[i] == ' ') ++i;
  for (; i < kFieldEnd && block[i] >= '0' && block[i] <= '7'; ++i) {
    expected = expected * 8 + (block[i] - '0');
  }
  // The field is taken out afterwards: a loop without a condition is one that compilers vectorise.
  std::int32_t as_unsigned = 0, high_bits = 0;
  for (const unsigned char c : block) {
    as_unsigned += c;
    high_bits += c >> 7;
  }
  for (i = kField; i < kFieldEnd; ++i) {
    as_unsigned += ' ' - block[i];
    high_bits -= block[i] >> 7;
  }
  const std::int32_t as_signed = as_unsigned - 256 * high_bits;
  return expected == as_unsigned || expected == as_signed;
}

std::string_view words_of(archive* handle) {
  const char* text = archive_error_string(handle);
  return text == nullptr ? std::string_view() : std::string_view(text);
}

/// The warnings of libarchive that lose nothing we use: names that are no text in the plain locale
/// (see Note [Names are bytes]) and unreadable access lists.
bool is_harmless(archive* handle) {
  const std::string_view words = words_of(handle);
  return words.empty() || words.find("can't be converted") != std::string_view::npos ||
         words.starts_with("Parse error");
}

struct State {
  explicit State(std::unique_ptr<ByteStream> stream) : input(std::move(stream)) {}
  ArchiveInput input;
  ArchiveReadHandle handle;  ///< uses `input`, so it goes first
  archive_entry* header = nullptr;
  TarEntry entry;
  std::uint64_t end = 0;  ///< what libarchive had consumed at the end of the archive
  [[nodiscard]] std::uint64_t zero_blocks_at_end() const;  ///< up to the two that mark it
};

/// Strict: through libarchive, whose results become `Error`s here.
class ArchiveTarReader final : public TarEntryReader {
 public:
  explicit ArchiveTarReader(std::unique_ptr<ByteStream> stream) : stream_(std::move(stream)) {}

  Result<std::optional<TarEntry>> next() override;
  [[nodiscard]] Result<void> check_end_marker() const override;
  [[nodiscard]] std::uint64_t members_end() const noexcept override;
  Result<void> check_nothing_behind() override;
  [[nodiscard]] bool stream_damaged() const noexcept override;
  Result<void> read(const Sink& sink) override;
  Result<void> read_into(std::span<std::byte> into) override;
  Result<void> pass_over() override { return check_claim(); }
  [[nodiscard]] std::shared_ptr<const RandomAccess> file_range() const override;
  [[nodiscard]] Result<void> check_claim() const override;
  [[nodiscard]] std::uint64_t position() const noexcept override;

 private:
  Result<void> open();
  Error failure(int status, std::uint64_t offset, const char* expected);

  std::unique_ptr<ByteStream> stream_;  ///< until `open`
  std::unique_ptr<State> state_;
};

Result<void> ArchiveTarReader::open() {
  auto plain = decompressed(std::move(stream_));
  if (!plain) return std::move(plain.error());
  state_ = std::make_unique<State>(std::move(*plain));
  state_->handle.reset(archive_read_new());
  archive* handle = state_->handle.get();
  if (handle == nullptr || archive_read_support_format_tar(handle) != ARCHIVE_OK) {
    return Error{ErrorCode::kMemory, "making a libarchive handle failed", {}, {}, {}};
  }
  const int status = archive_read_open2(handle, &state_->input, nullptr, &ArchiveInput::give_block,
                                        &ArchiveInput::skip_bytes, nullptr);
  if (status != ARCHIVE_OK) return failure(status, 0, "a tar archive");
  return {};
}

Error ArchiveTarReader::failure(int status, std::uint64_t offset, const char* expected) {
  const ArchiveInput& input = state_->input;
  if (input.error()) return Error(*input.error()).at({}, {}, input.offset());
  const std::string_view text = words_of(state_->handle.get());
  // libarchive has many words for a cut, and none within an extension header; but it asks for more
  // than there is only where something is missing.
  if (text.find("runcated") != std::string_view::npos ||
      (status != ARCHIVE_RETRY && input.at_end())) {
    return Error{
        ErrorCode::kTruncated,
        fmt::format("the archive is cut at byte {}; expected {}", input.offset(), expected),
        {},
        {},
        offset};
  }
  if (status == ARCHIVE_RETRY) {
    return Error{ErrorCode::kCorruptArchive,
                 fmt::format("the header's checksum is wrong; expected {}", expected),
                 {},
                 {},
                 offset};
  }
  return Error{
      ErrorCode::kCorruptArchive, fmt::format("{}; expected {}", text, expected), {}, {}, offset};
}

Result<std::optional<TarEntry>> ArchiveTarReader::next() {
  constexpr const char* kExpected = "a member's header or two zero blocks";
  const PlainLocale plain_locale;
  if (state_ == nullptr) {
    if (auto opened = open(); !opened) return std::move(opened.error());
  }
  archive* handle = state_->handle.get();
  const int status = archive_read_next_header(handle, &state_->header);
  const auto consumed = static_cast<std::uint64_t>(archive_filter_bytes(handle, 0));
  // After a fatal error the handle no longer tells where the header began.
  const std::int64_t header_position = archive_read_header_position(handle);
  const std::uint64_t offset =
      header_position >= 0 ? static_cast<std::uint64_t>(header_position) : consumed;
  state_->entry = TarEntry{};
  state_->entry.offset = offset;
  if (status == ARCHIVE_EOF) {
    // What cannot be read behind the first zero block is an end of the archive to libarchive.
    if (state_->input.error()) return failure(status, offset, kExpected);
    state_->end = consumed;
    return std::optional<TarEntry>();
  }
  if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return failure(status, offset, kExpected);
  if (status == ARCHIVE_WARN && !is_harmless(handle)) {
    return failure(status, offset, "headers as POSIX has them");
  }

  TarEntry& entry = state_->entry;
  const char* name = archive_entry_pathname(state_->header);
  if (name != nullptr) entry.name = name;
  const std::int64_t size = archive_entry_size(state_->header);
  entry.size = size > 0 ? static_cast<std::uint64_t>(size) : 0;
  entry.data_offset = consumed;
  entry.regular = archive_entry_filetype(state_->header) == AE_IFREG &&
                  archive_entry_hardlink(state_->header) == nullptr;
  if (entry.regular && consumed >= ArchiveInput::kTarBlock) {
    // libarchive takes every unknown type for a file; the reference skips those. Only a header says
    // its type, and the block before the content is one unless a sparse map stands between.
    const auto block = state_->input.tar_block(consumed - ArchiveInput::kTarBlock);
    if (block && is_header(*block)) {
      const unsigned char type = (*block)[156];
      entry.regular = type == '0' || type == 0 || type == '7' || type == 'S';
      entry.range = type != 'S' && archive_entry_sparse_count(state_->header) == 0;
    }
  }
  return std::optional<TarEntry>(entry);
}

std::uint64_t State::zero_blocks_at_end() const {
  std::uint64_t count = 0;
  while (count < 2 && end >= entry.offset + (count + 1) * ArchiveInput::kTarBlock) {
    const auto block = input.tar_block(end - (count + 1) * ArchiveInput::kTarBlock);
    if (!block || !is_zero(*block)) break;
    ++count;
  }
  return count;
}

std::uint64_t ArchiveTarReader::members_end() const noexcept {
  return state_->end - state_->zero_blocks_at_end() * ArchiveInput::kTarBlock;
}

Result<void> ArchiveTarReader::check_end_marker() const {
  const std::uint64_t begin = state_->entry.offset;
  const std::uint64_t end = state_->end;
  const std::uint64_t zero_blocks = state_->zero_blocks_at_end();
  if (zero_blocks == 2) return {};
  const bool cut = state_->input.at_end();
  return Error{
      cut ? ErrorCode::kTruncated : ErrorCode::kCorruptArchive,
      fmt::format("the archive {} byte {} with {} zero block{}; expected a member's header "
                  "or two zero blocks",
                  cut ? "is cut at" : "stops before", end, zero_blocks,
                  zero_blocks == 1 ? "" : "s"),
      {},
      {},
      begin};
}

Result<void> ArchiveTarReader::check_nothing_behind() {
  ArchiveInput& input = state_->input;
  while (input.nonzero_end() <= state_->end) {
    auto block = input.next();
    if (!block) return std::move(block.error().at({}, {}, input.offset()));
    if (block->empty()) return {};
  }
  return Error{ErrorCode::kCorruptArchive,
               fmt::format("bytes that are not zero up to byte {} behind the end of the archive; "
                           "expected nothing but zeros (are these archives put together?)",
                           input.nonzero_end()),
               {},
               {},
               state_->end};
}

Result<void> ArchiveTarReader::read(const Sink& sink) {
  archive* handle = state_->handle.get();
  const TarEntry& entry = state_->entry;
  std::uint64_t reached = 0;
  while (true) {
    const void* data = nullptr;
    std::size_t count = 0;
    la_int64_t at = 0;
    const int status = archive_read_data_block(handle, &data, &count, &at);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) {
      if (entry.range && reached == entry.size) break;  // only padding is missing: `next` fails
      return failure(status, entry.offset,
                     fmt::format("the member's content of {} bytes", entry.size).c_str());
    }
    const auto offset = static_cast<std::uint64_t>(at);
    if (at < 0 || offset > entry.size || count > entry.size - offset) {
      return Error{ErrorCode::kCorruptArchive,
                   fmt::format("the member's sparse map leads to bytes {} to {} of a content of {}",
                               offset, offset + count, entry.size),
                   {},
                   {},
                   entry.offset};
    }
    reached = offset + count;
    if (count == 0) continue;
    auto taken = sink(offset, {static_cast<const std::byte*>(data), count});
    if (!taken) return taken;
  }
  if (entry.range && reached != entry.size) {
    return Error{
        ErrorCode::kTruncated,
        fmt::format("the member's content ends after {} bytes; expected {}", reached, entry.size),
        {},
        {},
        entry.offset};
  }
  return {};
}

Result<void> ArchiveTarReader::read_into(std::span<std::byte> into) {
  const TarEntry& entry = state_->entry;
  const auto& file = state_->input.file();
  if (file == nullptr || !entry.range) return TarEntryReader::read_into(into);
  // libarchive is not asked for this content; at the next header it skips it.
  const std::size_t held = state_->input.copy_given(entry.data_offset, into);
  if (held == into.size()) return {};
  if (into.size() - held < kDirectBytes) return TarEntryReader::read_into(into);
  auto got = state_->input.read_at(entry.data_offset + held, into.subspan(held));
  if (!got) return std::move(got.error());
  if (held + *got == into.size()) return {};
  return Error{
      ErrorCode::kTruncated,
      fmt::format("the member's content ends after {} bytes; expected {}", held + *got, entry.size),
      {},
      {},
      entry.offset};
}

std::shared_ptr<const RandomAccess> ArchiveTarReader::file_range() const {
  const TarEntry& entry = state_->entry;
  const auto& file = state_->input.file();
  if (file == nullptr || !entry.range) return nullptr;
  return slice(file, entry.data_offset, entry.size);
}

Result<void> ArchiveTarReader::check_claim() const {
  const TarEntry& entry = state_->entry;
  const auto& file = state_->input.file();
  if (file == nullptr || !entry.range) return {};
  const std::uint64_t left = file->size() - std::min(file->size(), entry.data_offset);
  if (entry.size <= left) return {};
  return Error{
      ErrorCode::kTruncated,
      fmt::format("the archive is cut at byte {}; expected {} bytes of content from byte {}",
                  file->size(), entry.size, entry.data_offset),
      {},
      {},
      entry.offset};
}

bool ArchiveTarReader::stream_damaged() const noexcept {
  if (state_ == nullptr || !state_->input.error()) return false;
  const ErrorCode code = state_->input.error()->code;
  return code == ErrorCode::kCorruptArchive || code == ErrorCode::kTruncated;
}

std::uint64_t ArchiveTarReader::position() const noexcept {
  return state_ == nullptr ? 0 : state_->input.offset();
}

}  // namespace

Result<void> TarEntryReader::read_into(std::span<std::byte> into) {
  std::size_t reached = 0;  // pieces come in order; what lies between them is a hole
  const auto zero_until = [&](std::size_t end) {
    if (end > reached) std::memset(into.data() + reached, 0, end - reached);
  };
  auto done = read([&](std::uint64_t at, std::span<const std::byte> piece) -> Result<void> {
    const auto offset = static_cast<std::size_t>(at);
    zero_until(offset);
    std::memcpy(into.data() + offset, piece.data(), piece.size());
    reached = std::max(reached, offset + piece.size());
    return {};
  });
  zero_until(into.size());
  return done;
}

std::unique_ptr<TarEntryReader> TarEntryReader::make(std::unique_ptr<ByteStream> stream,
                                                     Integrity integrity) {
  if (integrity == Integrity::kCompat) return make_reference_tar_reader(std::move(stream));
  return std::make_unique<ArchiveTarReader>(std::move(stream));
}

}  // namespace shardreel
