#include "tools/pack/truncation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <span>
#include <string_view>
#include <vector>

namespace shardreel::tools {
namespace {

using Finding = Result<std::optional<std::string>>;

/// Bytes at `offset`, fewer at the end.
class Window {
 public:
  static Result<Window> read(const RandomAccess& content, std::uint64_t offset, std::size_t size) {
    Window window;
    window.bytes_.resize(size);
    const auto got = content.read_at(offset, window.bytes_);
    if (!got) return got.error();
    window.bytes_.resize(*got);
    return window;
  }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] std::uint64_t byte(std::size_t at) const {
    return std::to_integer<std::uint64_t>(bytes_[at]);
  }
  [[nodiscard]] std::uint64_t big_endian(std::size_t at, std::size_t count) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value = value << 8 | byte(at + i);
    return value;
  }
  [[nodiscard]] std::uint64_t little_endian(std::size_t at, std::size_t count) const {
    std::uint64_t value = 0;
    for (std::size_t i = count; i > 0; --i) value = value << 8 | byte(at + i - 1);
    return value;
  }
  [[nodiscard]] std::string_view text(std::size_t at, std::size_t count) const {
    return std::string_view(reinterpret_cast<const char*>(bytes_.data()), bytes_.size())
        .substr(at, count);
  }

 private:
  std::vector<std::byte> bytes_;
};

Finding missing(std::string_view what, std::uint64_t offset, std::uint64_t claimed,
                std::uint64_t there) {
  return std::optional(fmt::format("{} at byte {} says it has {} bytes; {} are there", what, offset,
                                   claimed, there));
}

constexpr std::array<std::string_view, 11> kFirstBoxes{
    "ftyp", "styp", "moov", "mdat", "free", "skip", "wide", "pnot", "moof", "sidx", "uuid"};

Finding walk_boxes(const RandomAccess& content) {
  bool data = false, index = false;
  for (std::uint64_t offset = 0; offset < content.size();) {
    const auto head = Window::read(content, offset, 16);
    if (!head) return head.error();
    const std::uint64_t there = content.size() - offset;
    if (head->size() < 8) return missing("the header of a box", offset, 8, there);
    const std::string_view type = head->text(4, 4);
    // Bytes behind the last box that are none: padding of whoever wrote it.
    if (!std::all_of(type.begin(), type.end(),
                     [](unsigned char c) { return std::isprint(c) != 0 || c == 0xa9; })) {
      return std::optional<std::string>();
    }
    data |= type == "mdat";
    index |= type == "moov" || type == "moof";
    std::uint64_t size = head->big_endian(0, 4);
    if (size == 0) break;  // up to the end
    if (size == 1) {
      if (head->size() < 16) return missing("the header of a box", offset, 16, there);
      size = head->big_endian(8, 8);
    }
    if (size > there) return missing(fmt::format("the box '{}'", type), offset, size, there);
    if (size < 8) break;  // no box: left to the demuxer
    offset += size;
  }
  if (data && !index)
    return std::optional<std::string>("the box 'moov' behind the data is missing");
  return std::optional<std::string>();
}

/// An EBML number: its length by the leading zeros of its first byte. With `marker` the length's
/// bit stays (identifiers).
struct EbmlNumber {
  std::uint64_t value = 0;
  std::size_t length = 0;  ///< 0: none here
  bool unknown = false;    ///< all ones: a size that is not told
};

EbmlNumber ebml_number(const Window& window, std::size_t at, bool marker) {
  if (at >= window.size() || window.byte(at) == 0) return {};
  std::size_t length = 1;
  while ((window.byte(at) & (0x80U >> (length - 1))) == 0) ++length;
  if (at + length > window.size()) return {};
  std::uint64_t value = window.big_endian(at, length);
  const std::uint64_t bit = std::uint64_t{1} << (7 * length);
  const std::uint64_t bare = value & (bit - 1);
  return {marker ? value : bare, length, bare == bit - 1};
}

Finding look_at_segment(const RandomAccess& content) {
  constexpr std::uint64_t kSegment = 0x18538067;
  for (std::uint64_t offset = 0; offset < content.size();) {
    const auto head = Window::read(content, offset, 12);
    if (!head) return head.error();
    const EbmlNumber id = ebml_number(*head, 0, true);
    const EbmlNumber size = id.length == 0 ? EbmlNumber{} : ebml_number(*head, id.length, false);
    if (size.length == 0 || size.unknown) break;
    const std::uint64_t begin = offset + id.length + size.length;
    if (begin > content.size() || size.value > content.size() - begin) {
      return missing(id.value == kSegment ? "the Matroska segment" : "a Matroska element", offset,
                     size.value, content.size() - std::min(begin, content.size()));
    }
    offset = begin + size.value;
  }
  return std::optional<std::string>();
}

Finding walk_riff(const RandomAccess& content) {
  for (std::uint64_t offset = 0; offset < content.size();) {
    const auto head = Window::read(content, offset, 8);
    if (!head) return head.error();
    if (head->size() < 8 || head->text(0, 4) != "RIFF") break;
    const std::uint64_t size = head->little_endian(4, 4);
    const std::uint64_t there = content.size() - offset - 8;
    if (size > there) return missing("the RIFF chunk", offset, size, there);
    offset += 8 + size + size % 2;
  }
  return std::optional<std::string>();
}

Finding walk_flv(const RandomAccess& content) {
  constexpr std::size_t kTagHeader = 11, kBackPointer = 4;
  const auto file = Window::read(content, 0, 9);
  if (!file) return file.error();
  for (std::uint64_t offset = file->big_endian(5, 4) + kBackPointer; offset < content.size();) {
    const auto tag = Window::read(content, offset, kTagHeader);
    if (!tag) return tag.error();
    const std::uint64_t there = content.size() - offset;
    if (tag->size() < kTagHeader) return missing("an FLV tag", offset, kTagHeader, there);
    const std::uint64_t size = kTagHeader + tag->big_endian(1, 3);
    // The last tag may lack the number behind it.
    if (size > there) return missing("an FLV tag", offset, size, there);
    offset += size + kBackPointer;
  }
  return std::optional<std::string>();
}

/// The last page has to end where the file ends.
Finding look_at_last_page(const RandomAccess& content) {
  constexpr std::size_t kMaxPage = 27 + 255 + 255 * 255, kHeader = 27;
  const std::uint64_t begin = content.size() - std::min<std::uint64_t>(content.size(), kMaxPage);
  const auto tail = Window::read(content, begin, kMaxPage);
  if (!tail) return tail.error();
  const std::string_view bytes = tail->text(0, tail->size());
  const std::size_t page = bytes.rfind("OggS");
  if (page == std::string_view::npos) return std::optional<std::string>();
  std::uint64_t size = kHeader;
  if (page + kHeader <= bytes.size()) {
    const auto segments = static_cast<std::size_t>(tail->byte(page + 26));
    size += segments;
    for (std::size_t i = 0; i < segments && page + kHeader + i < bytes.size(); ++i) {
      size += tail->byte(page + kHeader + i);
    }
  }
  if (size <= bytes.size() - page) return std::optional<std::string>();
  return missing("an Ogg page", begin + page, size, bytes.size() - page);
}

/// The length of a transport stream's packets, told by its sync bytes; 0 when it is none.
std::uint64_t transport_packet(const Window& head) {
  constexpr std::size_t kPackets = 5;
  for (const auto& [size, sync] :
       {std::pair<std::size_t, std::size_t>{188, 0}, {192, 4}, {204, 0}}) {
    bool fits = head.size() >= size * (kPackets - 1) + sync + 1;
    for (std::size_t i = 0; fits && i < kPackets; ++i) fits = head.byte(i * size + sync) == 0x47;
    if (fits) return size;
  }
  return 0;
}

}  // namespace

Finding find_truncation(const RandomAccess& content) {
  const auto head = Window::read(content, 0, 1024);
  if (!head) return head.error();
  if (head->size() < 12) return std::optional<std::string>();
  const std::string_view type = head->text(4, 4);
  if (std::find(kFirstBoxes.begin(), kFirstBoxes.end(), type) != kFirstBoxes.end()) {
    return walk_boxes(content);
  }
  if (head->text(0, 4) == "\x1a\x45\xdf\xa3") return look_at_segment(content);
  if (head->text(0, 4) == "RIFF") return walk_riff(content);
  if (head->text(0, 3) == "FLV") return walk_flv(content);
  if (head->text(0, 4) == "OggS") return look_at_last_page(content);
  if (const std::uint64_t packet = transport_packet(*head); packet != 0) {
    const std::uint64_t rest = content.size() % packet;
    if (rest != 0) return missing("a transport packet", content.size() - rest, packet, rest);
  }
  return std::optional<std::string>();
}

}  // namespace shardreel::tools
