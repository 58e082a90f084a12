#include "tools/commands/text_json.h"

#include <fmt/format.h>

#include <cstdio>
#include <vector>

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string dumped(std::string_view text, Json::error_handler_t handler) {
  return Json(std::string(text)).dump(-1, ' ', false, handler);
}

/// Where each character of UTF-8 text begins, and its end.
std::vector<std::size_t> character_starts(const std::string& text) {
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) starts.push_back(i);
  }
  starts.push_back(text.size());
  return starts;
}

/// Whether a character of UTF-8 is a control (U+0000 to U+001F, U+007F to U+009F), or turns the
/// direction of the text behind it (U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069).
bool acts_on_terminals(std::string_view one) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(one[i]); };
  if (one.size() == 1) return byte(0) < 0x20 || byte(0) == 0x7F;
  if (one.size() == 2) return byte(0) == 0xC2 && byte(1) < 0xA0;
  if (one.size() != 3 || byte(0) != 0xE2) return false;
  return byte(1) == 0x80
             ? byte(2) == 0x8E || byte(2) == 0x8F || (byte(2) >= 0xAA && byte(2) <= 0xAE)
             : byte(1) == 0x81 && byte(2) >= 0xA6 && byte(2) <= 0xA9;
}

}  // namespace

bool is_utf8(std::string_view text) {
  // The library alone knows what it calls UTF-8: replacing and leaving out differ only where it is
  // not.
  return dumped(text, Json::error_handler_t::replace) ==
         dumped(text, Json::error_handler_t::ignore);
}

std::string printable_utf8(std::string_view text) {
  return Json::parse(dumped(text, Json::error_handler_t::replace)).get<std::string>();
}

void add_text(Json& object, const std::string& name, std::string_view text) {
  object[name] = printable_utf8(text);
  if (is_utf8(text)) return;
  std::string hex;
  for (const char c : text) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  object[name + "_hex"] = hex;
}

Json to_json(const Error& error) {
  Json json{{"code", to_string(error.code)}, {"message", printable_utf8(error.message)}};
  add_text(json, "shard", error.shard);
  add_text(json, "key", error.key);
  json["offset"] = error.offset ? Json(*error.offset) : Json();
  return json;
}

void print_error_json(const Error& error) {
  const Json json{{"error", to_json(error)}};
  fmt::print("{}\n", json.dump());
  std::fflush(stdout);
}

std::string for_terminal(std::string_view text) {
  const std::string all = printable_utf8(text);
  const auto starts = character_starts(all);
  std::string shown;
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    const std::string_view one = std::string_view(all).substr(starts[i], starts[i + 1] - starts[i]);
    if (!acts_on_terminals(one)) {
      shown += one;
      continue;
    }
    for (const char c : one) shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return shown;
}

std::string shortened(const std::string& text, std::size_t width) {
  const auto starts = character_starts(text);
  const std::size_t count = starts.size() - 1;
  if (count <= width || width < 5) return text;
  const std::size_t head = (width - 3) / 2, tail = width - 3 - head;
  return text.substr(0, starts[head]) + "..." + text.substr(starts[count - tail]);
}

std::string padded(const std::string& text, std::size_t width) {
  const std::size_t count = character_starts(text).size() - 1;
  return count < width ? text + std::string(width - count, ' ') : text;
}

}  // namespace shardreel::tools
