#include "tools/pack/json_check.h"

#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>

namespace shardreel::tools {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{64} << 20;

}  // namespace

bool is_json_field(std::string_view field) { return field == "json" || field.ends_with(".json"); }

Result<std::optional<std::string>> find_json_problem(const RandomAccess& content) {
  const auto problem = [](std::string words) { return std::optional(std::move(words)); };
  if (content.size() > kMostBytes)
    return problem(fmt::format("{} bytes; at most {} are looked at", content.size(), kMostBytes));
  std::string text(static_cast<std::size_t>(content.size()), '\0');
  const auto got = content.read_at(0, std::as_writable_bytes(std::span(text)));
  if (!got) return got.error();
  text.resize(*got);
  try {
    // Only parsed: nothing is built, and nesting takes a bit a level.
    nlohmann::json::parser_callback_t discard = [](int, nlohmann::json::parse_event_t,
                                                   nlohmann::json&) { return false; };
    [[maybe_unused]] const auto nothing = nlohmann::json::parse(text, discard);
    return std::optional<std::string>();
  } catch (const nlohmann::json::exception& failed) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    const std::string_view words = failed.what();
    return problem(std::string(words.substr(std::min(words.size(), words.find("] ") + 2))));
  }
}

}  // namespace shardreel::tools
