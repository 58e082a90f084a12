#include "tools/commands/content_kind.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace shardreel::tools {
namespace {

using namespace std::string_view_literals;

struct Magic {
  std::size_t at;
  std::string_view bytes;
  std::string_view kind;
};

constexpr std::array kMagics{
    Magic{4, "ftyp", "mp4/mov"},
    Magic{4, "moov", "mp4/mov"},
    Magic{4, "mdat", "mp4/mov"},
    Magic{4, "styp", "mp4/mov"},
    Magic{4, "wide", "mp4/mov"},
    Magic{8, "AVI ", "avi"},
    Magic{8, "WAVE", "wav"},
    Magic{8, "WEBP", "webp"},
    Magic{0, "FLV\x01", "flv"},
    Magic{0, "OggS", "ogg"},
    Magic{0, "DKIF", "ivf"},
    Magic{0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11"sv, "asf/wmv"},
    Magic{0, "\x89PNG\r\n\x1a\n"sv, "png"},
    Magic{0, "GIF8", "gif"},
    Magic{0, "BM", "bmp"},
    Magic{0, "\x1f\x8b\x08"sv, "gzip"},
    Magic{0, "PK\x03\x04"sv, "zip"},
    Magic{0, "\x93NUMPY"sv, "npy"},
    Magic{0, "%PDF-", "pdf"},
    Magic{0, "\x06\x0e\x2b\x34"sv, "mxf"},
    Magic{0, "YUV4MPEG2 ", "yuv4mpeg"},
    Magic{0, ".RMF", "realmedia"},
    Magic{0, "nut/multimedia container", "nut"},
    Magic{0, "fLaC", "flac"},
};

struct Extension {
  std::string_view name;
  std::string_view kinds;  ///< any of them, separated by spaces
  bool always_shows;       ///< content of this kind always begins so
};

constexpr std::array kExtensions{
    Extension{"mp4", "mp4/mov", false},      Extension{"m4v", "mp4/mov", false},
    Extension{"mov", "mp4/mov", false},      Extension{"3gp", "mp4/mov", false},
    Extension{"m4a", "mp4/mov", false},      Extension{"webm", "webm", true},
    Extension{"mkv", "matroska webm", true}, Extension{"mka", "matroska webm", true},
    Extension{"avi", "avi", true},           Extension{"wav", "wav", false},
    Extension{"flv", "flv", true},           Extension{"ogv", "ogg", true},
    Extension{"ogg", "ogg", true},           Extension{"ivf", "ivf", true},
    Extension{"wmv", "asf/wmv", true},       Extension{"ts", "mpeg-ts", false},
    Extension{"m2ts", "mpeg-ts", false},     Extension{"mts", "mpeg-ts", false},
    Extension{"mpg", "mpeg mpeg-ts", false}, Extension{"mpeg", "mpeg mpeg-ts", false},
    Extension{"h264", "annex-b", false},     Extension{"h265", "annex-b", false},
    Extension{"hevc", "annex-b", false},     Extension{"mjpeg", "jpeg", false},
    Extension{"asf", "asf/wmv", true},       Extension{"m2v", "mpeg annex-b", false},
    Extension{"vob", "mpeg", false},         Extension{"3g2", "mp4/mov", false},
    Extension{"mxf", "mxf", false},          Extension{"jpg", "jpeg", true},
    Extension{"jpeg", "jpeg", true},         Extension{"png", "png", true},
    Extension{"gif", "gif", true},           Extension{"bmp", "bmp", true},
    Extension{"webp", "webp", true},         Extension{"gz", "gzip", true},
    Extension{"npy", "npy", true},           Extension{"npz", "zip", true},
    Extension{"pdf", "pdf", true},           Extension{"flac", "flac", false},
};

bool has_word(std::string_view words, std::string_view word) {
  for (std::size_t at = 0; at < words.size();) {
    const std::size_t end = std::min(words.find(' ', at), words.size());
    if (words.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

bool is_transport_stream(std::string_view text) {
  for (const auto& [packet, at] : {std::pair<std::size_t, std::size_t>{188, 0}, {192, 4}}) {
    if (text.size() > at + packet && text[at] == 'G' && text[at + packet] == 'G') return true;
  }
  return false;
}

}  // namespace

std::string_view sniff_content(std::span<const std::byte> head) {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  if (text.starts_with("\x1a\x45\xdf\xa3"sv)) {
    // The document type is among the first elements of the header.
    return text.substr(0, 64).find("webm") != std::string_view::npos ? "webm" : "matroska";
  }
  for (const Magic& magic : kMagics) {
    if (text.size() < magic.at + magic.bytes.size()) continue;
    if (text.substr(magic.at, magic.bytes.size()) != magic.bytes) continue;
    if (magic.at == 8 && !text.starts_with("RIFF")) continue;
    return magic.kind;
  }
  if (text.starts_with("\xff\xd8\xff"sv)) return "jpeg";
  if (text.starts_with("\0\0\x01\xba"sv) || text.starts_with("\0\0\x01\xb3"sv)) return "mpeg";
  if (text.starts_with("\0\0\0\x01"sv) || text.starts_with("\0\0\x01"sv)) return "annex-b";
  if (is_transport_stream(text)) return "mpeg-ts";
  return {};
}

bool may_be_video(std::string_view kind) {
  return !kind.empty() &&
         has_word(
             "mp4/mov webm matroska avi flv ogg ivf asf/wmv gif mpeg mpeg-ts annex-b mxf "
             "yuv4mpeg realmedia nut",
             kind);
}

std::optional<std::string> wrong_kind(std::string_view field, std::span<const std::byte> head) {
  const std::size_t dot = field.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? field : field.substr(dot + 1);
  const auto* known = std::find_if(kExtensions.begin(), kExtensions.end(),
                                   [last](const Extension& one) { return one.name == last; });
  if (known == kExtensions.end()) return std::nullopt;
  const std::string_view found = sniff_content(head);
  if (found.empty() && !known->always_shows) return std::nullopt;
  if (!found.empty() && has_word(known->kinds, found)) return std::nullopt;
  return fmt::format("the name says {}, the content {}", last,
                     found.empty() ? "begins otherwise" : fmt::format("is {}", found));
}

}  // namespace shardreel::tools
