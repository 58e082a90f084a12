#include "shards/sample_grouper.h"

#include <cstdint>

namespace shardreel {
namespace {

constexpr auto kNone = std::string_view::npos;

/// The lower-case form of a code point below U+0500 (two bytes of UTF-8 both before and after).
std::uint32_t lower_code_point(std::uint32_t c) {
  const auto within = [c](std::uint32_t first, std::uint32_t last) {
    return c >= first && c <= last;
  };
  if (within(0xC0, 0xDE) && c != 0xD7) return c + 32;
  // Latin Extended-A: pairs; upper case is even, but odd from U+0139 to U+0148 and from U+0179.
  // U+0130 becomes two code points in Python and U+0138, U+0149, U+017F are lower case: left alone.
  if (within(0x100, 0x12E) || within(0x132, 0x136) || within(0x14A, 0x176)) return c | 1;
  if (within(0x139, 0x147) || within(0x179, 0x17D)) return c + (c & 1);
  if (c == 0x178) return 0xFF;
  if (c == 0x386) return 0x3AC;
  if (within(0x388, 0x38A)) return c + 37;
  if (c == 0x38C) return 0x3CC;
  if (within(0x38E, 0x38F)) return c + 63;
  if (within(0x391, 0x3AB) && c != 0x3A2) return c + 32;
  if (within(0x400, 0x40F)) return c + 80;
  if (within(0x410, 0x42F)) return c + 32;
  if (within(0x460, 0x480) || within(0x48A, 0x4BE) || within(0x4D0, 0x4FE)) return c | 1;
  if (c == 0x4C0) return 0x4CF;
  if (within(0x4C1, 0x4CD)) return c + (c & 1);
  return c;
}

}  // namespace

std::optional<SplitName> split_member_name(std::string_view name) {
  // `.*/` takes as much as it can: try the slashes from the last to the first. `.` does not match a
  // newline, so a slash counts only while no newline stands before it.
  const std::size_t newline = name.find('\n');
  const auto split_at = [&](std::size_t stem) -> std::optional<SplitName> {
    // [^.]+ then a dot: the stem runs to its first dot and is not empty; no slash may follow.
    const std::size_t dot = name.find('.', stem);
    if (dot == kNone || dot == stem || name.find('/', dot) != kNone) return std::nullopt;
    return SplitName{name.substr(0, dot), name.substr(dot + 1)};
  };
  for (std::size_t slash = name.rfind('/'); slash != kNone;) {
    if (newline == kNone || newline > slash) {
      if (auto split = split_at(slash + 1)) return split;
    }
    slash = slash == 0 ? kNone : name.rfind('/', slash - 1);
  }
  return split_at(0);  // no folder: the stem itself may hold slashes ("dir/.hidden" is key "dir/")
}

bool is_metadata_name(std::string_view name) {
  const std::size_t slash = name.find('/');
  if (slash == kNone && name.starts_with("__") && name.ends_with("__")) return true;
  // __[^/]*__($|/), where $ also matches before a newline at the end.
  std::string_view head = name.substr(0, slash);
  const auto framed = [](std::string_view text) {
    return text.size() >= 4 && text.starts_with("__") && text.ends_with("__");
  };
  if (framed(head)) return true;
  if (slash != kNone || !head.ends_with('\n')) return false;
  head.remove_suffix(1);
  return framed(head);
}

std::string lower_field(std::string_view field) {
  std::string lower(field);
  for (std::size_t i = 0; i < lower.size(); ++i) {
    const auto lead = static_cast<unsigned char>(lower[i]);
    if (lead >= 'A' && lead <= 'Z') {
      lower[i] = static_cast<char>(lead + 32);
    } else if (lead >= 0xC3 && lead <= 0xD3 && i + 1 < lower.size()) {
      const auto trail = static_cast<unsigned char>(lower[i + 1]);
      if ((trail & 0xC0) != 0x80) continue;
      const std::uint32_t point =
          lower_code_point((static_cast<std::uint32_t>(lead & 0x1F) << 6) | (trail & 0x3F));
      lower[i] = static_cast<char>(0xC0 | (point >> 6));
      lower[i + 1] = static_cast<char>(0x80 | (point & 0x3F));
      ++i;
    }
  }
  return lower;
}

bool is_reserved_field(std::string_view field) {
  return field == "__key__" || field == "__url__" || field == "__local_path__";
}

}  // namespace shardreel
