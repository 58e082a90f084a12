#include "shards/reference_tar_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "shards/pax_records.h"
#include "shards/python_number.h"
#include "shards/reference_stream.h"
#include "shards/stream_position.h"

namespace shardreel {
namespace {

constexpr std::int64_t kBlock = 512;
// Nobody nests extension headers; the reference gives up at about a thousand.
constexpr int kMostNested = 900;
// The reference reads any claim of an extension header into memory.
constexpr std::int64_t kMostExtension = std::int64_t{64} << 20;

using Map = std::vector<std::pair<std::int64_t, std::int64_t>>;  ///< offset and size of data

struct Header {
  std::string name;
  char type = 0;
  std::int64_t size = 0;
  std::int64_t offset = 0;  ///< of its first block
  std::int64_t data_offset = 0;
  std::optional<Map> sparse;

  [[nodiscard]] bool regular() const {
    return type == '0' || type == '\0' || type == '7' || type == 'S';
  }
  /// Whether `size` bytes follow: folders, links and devices have none, whatever they claim.
  [[nodiscard]] bool has_data() const {
    return regular() || std::string_view("123456LK").find(type) == std::string_view::npos;
  }
};

/// Why there is no header. The first three end an archive without a word, save where it begins.
enum class Kind { kNothing, kCut, kInvalid, kZeros, kError };
struct NoHeader {
  Kind kind;
  Error error;
};
using Parsed = std::variant<Header, NoHeader>;

NoHeader no_header(Kind kind, std::string_view words) {
  const bool cut = kind == Kind::kNothing || kind == Kind::kCut;
  return {kind, Error{cut ? ErrorCode::kTruncated : ErrorCode::kCorruptArchive,
                      fmt::format("{}; the reference implementation stops here", words),
                      {},
                      {},
                      {}}};
}

std::int64_t padded(std::int64_t size) {
  const std::int64_t rest = ((size % kBlock) + kBlock) % kBlock;
  return rest == 0 ? size : size - rest + kBlock;
}

std::string_view until_zero(std::string_view text) { return text.substr(0, text.find('\0')); }

void strip_slashes(std::string& name) {
  while (name.ends_with('/')) name.pop_back();
}

bool checksum_holds(std::string_view block, std::int64_t expected) {
  std::int64_t as_unsigned = 256, as_signed = 256;
  for (std::size_t i = 0; i < block.size(); ++i) {
    if (i >= 148 && i < 156) continue;
    as_unsigned += static_cast<unsigned char>(block[i]);
    as_signed += static_cast<signed char>(block[i]);
  }
  return expected == as_unsigned || expected == as_signed;
}

class ReferenceTarReader final : public TarEntryReader {
 public:
  explicit ReferenceTarReader(std::unique_ptr<ByteStream> stream) : unopened_(std::move(stream)) {}

  Result<std::optional<TarEntry>> next() override;
  Result<void> read(const Sink& sink) override;
  Result<void> pass_over() override;
  [[nodiscard]] std::shared_ptr<const RandomAccess> file_range() const override;
  [[nodiscard]] Result<void> check_claim() const override;
  [[nodiscard]] std::uint64_t position() const noexcept override {
    return input_ ? static_cast<std::uint64_t>(input_->tell()) : 0;
  }
  // The reference looks at nothing behind the end.
  [[nodiscard]] Result<void> check_end_marker() const override { return {}; }
  [[nodiscard]] std::uint64_t members_end() const noexcept override {
    return next_offset_ > 0 ? static_cast<std::uint64_t>(next_offset_) : 0;
  }
  Result<void> check_nothing_behind() override { return {}; }
  [[nodiscard]] bool stream_damaged() const noexcept override { return false; }

 private:
  Parsed parse(int depth);
  Parsed parse_block();
  Parsed parse_nested(int depth);
  Parsed parse_long_name(Header header, int depth);
  Parsed parse_extension(Header header, int depth);
  std::optional<NoHeader> read_old_sparse(Header& header, std::string_view block);
  std::optional<NoHeader> find_sparse_map(Header& header, const PaxRecords& own,
                                          const PaxRecords& all);
  std::optional<NoHeader> read_sparse_map(Header& header);
  static std::optional<NoHeader> apply(const PaxRecords& records, Header& header);
  Result<std::string> read_text(std::int64_t bytes);

  std::unique_ptr<ByteStream> unopened_;
  std::optional<StreamPosition> input_;
  PaxRecords global_;
  std::int64_t next_offset_ = 0;  ///< where the next header is expected
  Header header_;
};

Result<std::string> ReferenceTarReader::read_text(std::int64_t bytes) {
  std::string text(static_cast<std::size_t>(bytes), '\0');
  auto got = input_->read(std::as_writable_bytes(std::span(text)));
  if (!got) return std::move(got.error());
  text.resize(*got);
  return text;
}

Parsed ReferenceTarReader::parse_block() {
  auto given = read_text(kBlock);
  if (!given) return NoHeader{Kind::kError, std::move(given.error())};
  const std::string_view block = *given;
  if (block.empty()) return no_header(Kind::kNothing, "the archive is cut at a header");
  if (block.size() < kBlock) return no_header(Kind::kCut, "the archive is cut within a header");
  if (block.find_first_not_of('\0') == std::string_view::npos) {
    return no_header(Kind::kZeros, "zeros in place of a header");
  }
  const auto expected = python_field(block.substr(148, 8));
  if (!expected || !checksum_holds(block, *expected)) {
    return no_header(Kind::kInvalid, "the header's checksum is wrong");
  }
  Header header;
  header.name = until_zero(block.substr(0, 100));
  header.type = block[156];
  header.offset = input_->tell() - kBlock;
  const auto size = python_field(block.substr(124, 12));
  // Mode, owner, group, time, device: of no use, but the reference refuses what is no number.
  constexpr std::array<std::pair<std::size_t, std::size_t>, 6> kNumbers{
      {{100, 8}, {108, 8}, {116, 8}, {136, 12}, {329, 8}, {337, 8}}};
  const bool numbers = std::all_of(kNumbers.begin(), kNumbers.end(), [&](const auto& field) {
    return python_field(block.substr(field.first, field.second)).has_value();
  });
  if (!size || !numbers) return no_header(Kind::kInvalid, "a number of the header is none");
  header.size = *size;
  // V7 has no type for folders.
  if (header.type == '\0' && header.name.ends_with('/')) header.type = '5';
  if (header.type == 'S') {
    if (auto problem = read_old_sparse(header, block)) return std::move(*problem);
  }
  if (header.type == '5') strip_slashes(header.name);
  const std::string_view prefix = until_zero(block.substr(345, 155));
  if (!prefix.empty() && std::string_view("LKS").find(header.type) == std::string_view::npos) {
    header.name = fmt::format("{}/{}", prefix, header.name);
  }
  return header;
}

/// The four pieces in the header itself; what stands in further blocks is read by `parse`.
std::optional<NoHeader> ReferenceTarReader::read_old_sparse(Header& header,
                                                            std::string_view block) {
  Map map;
  for (std::size_t at = 386; at < 482; at += 24) {
    const auto offset = python_field(block.substr(at, 12));
    const auto size = python_field(block.substr(at + 12, 12));
    if (!offset || !size) return no_header(Kind::kInvalid, "a number of the sparse map is none");
    map.emplace_back(*offset, *size);
  }
  const auto real_size = python_field(block.substr(483, 12));
  if (!real_size) return no_header(Kind::kInvalid, "a number of the sparse map is none");
  for (bool more = block[482] != '\0'; more;) {
    const auto given = read_text(kBlock);
    if (!given) return NoHeader{Kind::kError, given.error()};
    if (given->size() < kBlock) return no_header(Kind::kError, "the sparse map is cut");
    const std::string_view further = *given;
    for (std::size_t at = 0; at < 504; at += 24) {
      const auto offset = python_field(further.substr(at, 12));
      const auto size = python_field(further.substr(at + 12, 12));
      if (!offset || !size) return no_header(Kind::kInvalid, "a number of the sparse map is none");
      if (*offset != 0 && *size != 0) map.emplace_back(*offset, *size);
    }
    more = further[504] != '\0';
  }
  header.sparse = std::move(map);
  header.data_offset = input_->tell();
  next_offset_ = header.data_offset + padded(header.size);
  header.size = *real_size;
  return std::nullopt;
}

Parsed ReferenceTarReader::parse(int depth) {
  if (depth > kMostNested) return no_header(Kind::kError, "extension headers without an end");
  Parsed parsed = parse_block();
  auto* header = std::get_if<Header>(&parsed);
  if (header == nullptr || header->type == 'S') return parsed;
  if (header->type == 'L' || header->type == 'K') return parse_long_name(std::move(*header), depth);
  if (header->type == 'x' || header->type == 'g' || header->type == 'X') {
    return parse_extension(std::move(*header), depth);
  }
  header->data_offset = input_->tell();
  next_offset_ = header->data_offset + (header->has_data() ? padded(header->size) : 0);
  if (auto problem = apply(global_, *header)) return std::move(*problem);
  if (header->type == '5') strip_slashes(header->name);
  return parsed;
}

/// Behind an extension header the end of an archive is not its end.
Parsed ReferenceTarReader::parse_nested(int depth) {
  Parsed parsed = parse(depth + 1);
  if (auto* none = std::get_if<NoHeader>(&parsed)) none->kind = Kind::kError;
  return parsed;
}

Parsed ReferenceTarReader::parse_long_name(Header header, int depth) {
  if (header.size < 0 || header.size > kMostExtension) {
    return no_header(Kind::kError, fmt::format("a name of {} bytes", header.size));
  }
  auto text = read_text(padded(header.size));
  if (!text) return NoHeader{Kind::kError, std::move(text.error())};
  Parsed parsed = parse_nested(depth);
  auto* member = std::get_if<Header>(&parsed);
  if (member == nullptr) return parsed;
  member->offset = header.offset;
  if (header.type == 'L') {
    member->name = until_zero(*text);
    if (member->type == '5' && member->name.ends_with('/')) member->name.pop_back();
  }
  return parsed;
}

Parsed ReferenceTarReader::parse_extension(Header header, int depth) {
  if (header.size < 0 || header.size > kMostExtension) {
    return no_header(Kind::kError, fmt::format("an extension of {} bytes", header.size));
  }
  auto text = read_text(padded(header.size));
  if (!text) return NoHeader{Kind::kError, std::move(text.error())};
  PaxRecords own;
  if (!parse_pax_records(*text, own)) return no_header(Kind::kInvalid, "a damaged PAX record");
  PaxRecords all = global_;
  for (const auto& [key, value] : own) set_record(all, key, value);
  if (header.type == 'g') global_ = all;
  Parsed parsed = parse_nested(depth);
  auto* member = std::get_if<Header>(&parsed);
  if (member == nullptr) return parsed;
  // A global header goes on to mean what those behind it added to it.
  const PaxRecords& meant = header.type == 'g' ? global_ : all;
  if (auto problem = find_sparse_map(*member, own, meant)) return std::move(*problem);
  if (header.type == 'g') return parsed;
  if (auto problem = apply(meant, *member)) return std::move(*problem);
  member->offset = header.offset;
  if (find_record(meant, "size") != nullptr) {
    next_offset_ = member->data_offset + (member->has_data() ? padded(member->size) : 0);
  }
  return parsed;
}

std::optional<NoHeader> ReferenceTarReader::find_sparse_map(Header& header, const PaxRecords& own,
                                                            const PaxRecords& all) {
  const auto is = [&](std::string_view key, std::string_view wanted) {
    const std::string* value = find_record(all, key);
    return value != nullptr && *value == wanted;
  };
  std::vector<std::int64_t> offsets, sizes;
  if (const std::string* map = find_record(all, "GNU.sparse.map")) {  // version 0.1
    std::string_view rest = *map;
    for (bool more = true, is_offset = true; more; is_offset = !is_offset) {
      const std::size_t comma = rest.find(',');
      const auto number = python_int(rest.substr(0, comma), 10);
      if (!number) return no_header(Kind::kError, "a number of the sparse map is none");
      (is_offset ? offsets : sizes).push_back(*number);
      more = comma != std::string_view::npos;
      if (more) rest.remove_prefix(comma + 1);
    }
  } else if (find_record(all, "GNU.sparse.size") != nullptr) {  // version 0.0
    for (const auto& [key, value] : own) {
      const bool is_offset = key == "GNU.sparse.offset";
      if (!is_offset && key != "GNU.sparse.numbytes") continue;
      const auto number = python_int(value, 10);
      if (!number) return no_header(Kind::kInvalid, "a number of the sparse map is none");
      (is_offset ? offsets : sizes).push_back(*number);
    }
  } else if (is("GNU.sparse.major", "1") && is("GNU.sparse.minor", "0")) {
    return read_sparse_map(header);
  } else {
    return std::nullopt;
  }
  Map map;
  for (std::size_t i = 0; i < std::min(offsets.size(), sizes.size()); ++i) {
    map.emplace_back(offsets[i], sizes[i]);
  }
  header.sparse = std::move(map);
  return std::nullopt;
}

/// Version 1.0: lines before the content, as many blocks as they need.
std::optional<NoHeader> ReferenceTarReader::read_sparse_map(Header& header) {
  std::string text;
  std::size_t at = 0;
  const auto next_number = [&]() -> std::optional<std::int64_t> {
    if (text.find('\n', at) == std::string::npos) {
      auto more = read_text(kBlock);
      if (more) text += *more;
    }
    const std::size_t newline = text.find('\n', at);
    if (newline == std::string::npos) return std::nullopt;
    const auto number = python_int(std::string_view(text).substr(at, newline - at), 10);
    at = newline + 1;
    return number;
  };
  const auto count = next_number();
  if (!count) return no_header(Kind::kError, "the sparse map does not say how long it is");
  Map map;
  for (std::int64_t i = 0; i < *count; ++i) {
    const auto offset = next_number();
    const auto size = offset ? next_number() : std::nullopt;
    if (!size) return no_header(Kind::kError, "a number of the sparse map is none");
    map.emplace_back(*offset, *size);
  }
  header.sparse = std::move(map);
  header.data_offset = input_->tell();
  return std::nullopt;
}

std::optional<NoHeader> ReferenceTarReader::apply(const PaxRecords& records, Header& header) {
  for (const auto& [key, value] : records) {
    if (key == "GNU.sparse.name") {
      header.name = value;
    } else if (key == "GNU.sparse.size" || key == "GNU.sparse.realsize") {
      const auto size = python_int(value, 10);
      if (!size) return no_header(Kind::kError, "the size of a sparse file is no number");
      header.size = *size;
    } else if (key == "path") {
      header.name = value;
      strip_slashes(header.name);
    } else if (key == "size") {
      header.size = python_int(value, 10).value_or(0);
    }
  }
  return std::nullopt;
}

Result<std::optional<TarEntry>> ReferenceTarReader::next() {
  if (!input_) {
    auto plain = reference_stream(std::move(unopened_));
    if (!plain) return std::move(plain.error());
    input_.emplace(std::move(*plain));
  } else if (next_offset_ != input_->tell()) {
    if (next_offset_ == 0) return std::optional<TarEntry>();
    if (auto there = input_->advance_to(next_offset_); !there) return std::move(there.error());
  }
  Parsed parsed = parse(0);
  if (auto* none = std::get_if<NoHeader>(&parsed)) {
    const bool quiet =
        none->kind == Kind::kZeros || (none->kind != Kind::kError && next_offset_ != 0);
    if (quiet) return std::optional<TarEntry>();
    return std::move(none->error.at({}, {}, position()));
  }
  header_ = std::get<Header>(std::move(parsed));
  TarEntry entry;
  entry.name = header_.name;
  entry.size = static_cast<std::uint64_t>(std::max<std::int64_t>(header_.size, 0));
  entry.offset = static_cast<std::uint64_t>(header_.offset);
  entry.regular = header_.regular();
  entry.range = !header_.sparse.has_value();
  entry.data_offset = static_cast<std::uint64_t>(header_.data_offset);
  return std::optional<TarEntry>(std::move(entry));
}

Result<void> ReferenceTarReader::read(const Sink& sink) {
  struct Part {
    bool data;
    std::int64_t begin, end, from;
  };
  // As the reference lays the file out, maps without order among them.
  std::vector<Part> parts;
  const std::int64_t size = std::max<std::int64_t>(header_.size, 0);
  std::int64_t last = 0, from = header_.data_offset;
  for (const auto& [offset, bytes] : header_.sparse.value_or(Map{{0, size}})) {
    if (offset > last) parts.push_back({false, last, offset, 0});
    parts.push_back({true, offset, offset + bytes, from});
    from += bytes;
    last = offset + bytes;
  }
  if (last < size) parts.push_back({false, last, size, 0});
  std::vector<std::byte> piece(static_cast<std::size_t>(std::min<std::int64_t>(size, 1 << 18)));
  std::size_t index = 0;
  for (std::int64_t at = 0; at < size;) {
    for (std::size_t tries = 0; at < parts[index].begin || at >= parts[index].end; ++tries) {
      if (tries == parts.size()) {
        return Error{ErrorCode::kCorruptArchive, "the sparse map leaves bytes out", {}, {}, {}};
      }
      index = (index + 1) % parts.size();
    }
    const Part& part = parts[index];
    const std::int64_t end = std::min(size, part.end);
    if (!part.data) {
      at = end;
      continue;
    }
    if (auto there = input_->seek(part.from + (at - part.begin)); !there) return there;
    while (at < end) {
      const auto want = std::min(end - at, static_cast<std::int64_t>(piece.size()));
      const auto into = std::span(piece).first(static_cast<std::size_t>(want));
      auto got = input_->read(into);
      if (!got) return std::move(got.error());
      if (*got < into.size()) {
        return Error{ErrorCode::kTruncated,
                     fmt::format("the member's content ends after {} bytes; expected {}",
                                 at + static_cast<std::int64_t>(*got), size),
                     {},
                     {},
                     static_cast<std::uint64_t>(header_.offset)};
      }
      auto taken = sink(static_cast<std::uint64_t>(at), into);
      if (!taken) return taken;
      at += want;
    }
  }
  return {};
}

Result<void> ReferenceTarReader::pass_over() {
  if (header_.sparse || input_->file() == nullptr) {
    return read([](std::uint64_t, std::span<const std::byte>) { return Result<void>(); });
  }
  if (auto claim = check_claim(); !claim || header_.size <= 0) return claim;
  // Where sizes contradict each other, this may be behind the next header: an error of `next`.
  return input_->seek(header_.data_offset + header_.size);
}

std::shared_ptr<const RandomAccess> ReferenceTarReader::file_range() const {
  if (input_->file() == nullptr || header_.sparse || header_.size < 0) return nullptr;
  return slice(input_->file(), static_cast<std::uint64_t>(header_.data_offset),
               static_cast<std::uint64_t>(header_.size));
}

Result<void> ReferenceTarReader::check_claim() const {
  if (input_->file() == nullptr || header_.sparse || header_.size <= 0) return {};
  const auto end = static_cast<std::int64_t>(input_->file()->size());
  if (header_.data_offset + header_.size <= end) return {};
  return Error{
      ErrorCode::kTruncated,
      fmt::format("the archive is cut at byte {}; expected {} bytes of content from byte {}", end,
                  header_.size, header_.data_offset),
      {},
      {},
      static_cast<std::uint64_t>(header_.offset)};
}

}  // namespace

std::unique_ptr<TarEntryReader> make_reference_tar_reader(std::unique_ptr<ByteStream> stream) {
  return std::make_unique<ReferenceTarReader>(std::move(stream));
}

}  // namespace shardreel
