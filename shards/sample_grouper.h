#pragma once
// The rules of WebDataset for names, as pure functions of a member's name (raw bytes).

#include <optional>
#include <string>
#include <string_view>

namespace shardreel {

struct SplitName {
  std::string_view key;
  std::string_view field;  ///< not yet lower-cased
};

/// Split a member's name as the regular expression ^((?:.*/|)[^.]+)[.]([^/]*)$ does (greedy, with
/// backtracking): "dir.v1/c.rgb.mp4" is key "dir.v1/c", field "rgb.mp4". Nothing where it does not
/// match; such members belong to no sample. The parts view `name`.
std::optional<SplitName> split_member_name(std::string_view name);

/// Whether the reference leaves the member out before it splits names: "__meta__" at the top, and
/// everything below a top folder of that form.
bool is_metadata_name(std::string_view name);

/// Lower-case UTF-8 as Python's str.lower does for ASCII, Latin-1, Latin Extended-A, Greek and
/// Cyrillic letters (without its rule for a final sigma); every other byte stays.
std::string lower_field(std::string_view field);

/// Whether the reference keeps this field name for itself (`__key__`, `__url__`, `__local_path__`).
bool is_reserved_field(std::string_view field);

}  // namespace shardreel
