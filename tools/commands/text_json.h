#pragma once
// Text of any bytes in JSON, which holds UTF-8 only.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "shardreel/error.h"

namespace shardreel::tools {

/// Whether `text` is UTF-8 as JSON wants it.
[[nodiscard]] bool is_utf8(std::string_view text);

/// `text` with U+FFFD for each byte that is not UTF-8.
[[nodiscard]] std::string printable_utf8(std::string_view text);

/// Set `object[name]`. Where `text` is not UTF-8 it has U+FFFD for each bad byte, and its exact
/// bytes are beside it in hexadecimal, as `name` + "_hex".
void add_text(nlohmann::ordered_json& object, const std::string& name, std::string_view text);

/// A failure as `--json` prints it: its code, its words, and its place in the data.
[[nodiscard]] nlohmann::ordered_json to_json(const Error& error);

/// Print `{"error": ...}` on standard output: what `--json` gives where there is no report.
void print_error_json(const Error& error);

/// For terminals: as `printable_utf8`, with control characters, and those that turn the
/// direction of text, shown as `\xNN` a byte.
[[nodiscard]] std::string for_terminal(std::string_view text);

/// Shorten UTF-8 text to at most `width` characters (not bytes), with "..." in the middle.
[[nodiscard]] std::string shortened(const std::string& text, std::size_t width);

/// Pad with spaces to `width` characters.
[[nodiscard]] std::string padded(const std::string& text, std::size_t width);

}  // namespace shardreel::tools
