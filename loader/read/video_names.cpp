#include "loader/read/video_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "shardreel/options.h"

namespace shardreel {
namespace {

/// Extensions that nobody has in shards as a rule, and that our demuxers read all the same.
constexpr auto kFurther = std::to_array<std::string_view>(
    {"av1", "avs2", "avs3", "divx", "dv",   "f4v", "gxf",  "h261", "h263", "m1v",
     "m2p", "m2t",  "mjpg", "mpe",  "mp2v", "mpv", "nut",  "obu",  "ogm",  "qt",
     "rm",  "rmvb", "tp",   "trp",  "vc1",  "wtv", "xvid", "y4m"});

std::string_view last_part(std::string_view field) { return field.substr(field.rfind('.') + 1); }

}  // namespace

bool names_a_picture(std::string_view field) {
  const std::string_view last = last_part(field);
  return last == "gif" || last == "webp";
}

bool names_a_video(std::string_view field) {
  static const InputOptions defaults;
  const std::string_view last = last_part(field);
  return std::ranges::find(defaults.video_fields, last) != defaults.video_fields.end() ||
         std::ranges::find(kFurther, last) != kFurther.end();
}

std::string how_to_take(std::string_view key, std::string_view field) {
  std::string text = fmt::format("'{}' looks like a video; to take it, set {}", field,
                                 video_fields_text({std::string(field)}));
  if (field.find('.') == std::string_view::npos) return text;
  return text + fmt::format(
                    "; or write no dot in the file's name but the last one, because the "
                    "field begins at the first dot: the key is '{}', the field '{}'",
                    key, field);
}

std::string video_fields_text(const std::vector<std::string>& fields) {
  std::string list, words;
  bool plain = true;  // the command line separates words by commas
  for (const std::string& field : fields) {
    std::string escaped;
    for (const char c : field)
      escaped += c == '"' || c == '\\' ? std::string{'\\', c} : std::string{c};
    list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", escaped);
    words += fmt::format("{}{}", words.empty() ? "" : ",", field);
    plain = plain && field.find_first_of(",'") == std::string::npos;
  }
  std::string text = fmt::format("video_fields = [{}]", list);
  return plain ? text + fmt::format(" (--video-fields '{}')", words) : text;
}

}  // namespace shardreel
