#pragma once
// Whether a `.json` field is JSON, for `pack`, which refuses what is not, and `verify`, which finds
// it.

#include <optional>
#include <string>
#include <string_view>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace shardreel::tools {

/// Whether a field of this name holds JSON.
bool is_json_field(std::string_view field);

/// What is wrong with JSON; nothing when it parses. Reads it whole, 64 MiB at most: more is wrong
/// as well. An error when it cannot be read.
Result<std::optional<std::string>> find_json_problem(const RandomAccess& content);

}  // namespace shardreel::tools
