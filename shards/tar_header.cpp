#include "shards/tar_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace shardreel {
namespace {

// The ustar header: where its fields begin and how long they are (POSIX.1-1988).
constexpr std::size_t kNameSize = 100;
constexpr std::size_t kMode = 100, kUid = 108, kGid = 116, kSize = 124, kMtime = 136;
constexpr std::size_t kChecksum = 148, kType = 156, kMagic = 257;
constexpr std::size_t kPrefix = 345, kPrefixSize = 155;
constexpr std::uint64_t kMaxUstarSize = 077777777777;

struct UstarName {
  std::string_view prefix;
  std::string_view name;
  bool fits = false;
};

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

/// Split at the first slash that leaves a name short enough.
UstarName ustar_name(std::string_view name) {
  if (!is_ascii(name)) return {};  // ustar says nothing about other characters
  if (name.size() <= kNameSize) return {{}, name, true};
  const std::size_t slash = name.find('/', name.size() - kNameSize - 1);
  // A prefix of nothing would read back without its slash.
  if (slash == std::string_view::npos || slash == 0 || slash > kPrefixSize ||
      slash + 1 == name.size()) {
    return {};
  }
  return {name.substr(0, slash), name.substr(slash + 1), true};
}

void append_header(const UstarName& name, std::uint64_t size, char type, std::string& out) {
  std::array<char, kTarBlockBytes> block{};
  const auto put = [&block](std::size_t at, std::string_view text) {
    std::copy(text.begin(), text.end(), block.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0, name.name);
  put(kMode, "0000444");
  put(kUid, "0000000");
  put(kGid, "0000000");
  put(kSize, fmt::format("{:011o}", size));
  put(kMtime, "00000000000");
  put(kChecksum, "        ");  // counted as spaces
  block[kType] = type;
  put(kMagic, std::string_view("ustar\00000", 8));
  put(kPrefix, name.prefix);
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put(kChecksum, fmt::format("{:06o}", sum));
  block[kChecksum + 6] = '\0';
  out.append(block.data(), block.size());
}

/// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
std::string pax_record(std::string_view key, std::string_view value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length) {
    length = rest + std::to_string(length).size();
  }
  return fmt::format("{} {}={}\n", length, key, value);
}

}  // namespace

void append_tar_headers(std::string_view name, std::uint64_t size, std::string& out) {
  UstarName plain = ustar_name(name);
  std::string records;
  std::string stand_in;
  if (!plain.fits) {
    records += pax_record("path", name);
    // What readers without PAX see: the name's end, in ASCII.
    stand_in = name.substr(name.size() - std::min(name.size(), kNameSize));
    for (char& c : stand_in) {
      if (static_cast<unsigned char>(c) >= 0x80) c = '_';
    }
    plain = {{}, stand_in, true};
  }
  if (size > kMaxUstarSize) records += pax_record("size", std::to_string(size));
  if (!records.empty()) {
    append_header({{}, "././@PaxHeader", true}, records.size(), 'x', out);
    out += records;
    out.append((kTarBlockBytes - records.size() % kTarBlockBytes) % kTarBlockBytes, '\0');
  }
  append_header(plain, std::min(size, kMaxUstarSize), '0', out);
}

}  // namespace shardreel
