#pragma once
// Lists and manifests of videos: text into paths and columns.

#include <string>
#include <string_view>
#include <vector>

#include "shardreel/error.h"

namespace shardreel::tools {

struct ListedVideo {
  std::string path;     ///< as written
  std::string columns;  ///< the other columns as a JSON object, in their order; empty = none
};

/// One path a line; empty lines are passed over, a carriage return before the line end as well.
std::vector<ListedVideo> parse_path_list(std::string_view text);

/// One JSON object a line, with a string `path`. `name` is for messages.
Result<std::vector<ListedVideo>> parse_jsonl(std::string_view text, const std::string& name);

/// RFC 4180 with a line of names, one of them `path`. A cell that is written exactly as JSON writes
/// a number, true, false or null becomes that, every other one a string. Only `path` may hold bytes
/// that are not UTF-8.
Result<std::vector<ListedVideo>> parse_csv(std::string_view text, const std::string& name);

/// Add `columns` to the text of a `.json` sidecar (empty = there is none): the sidecar's object
/// with the columns behind it; where both have a name, the column's value stands. kUnsupported when
/// the sidecar is not a JSON object.
Result<std::string> merge_columns(std::string_view sidecar, std::string_view columns);

}  // namespace shardreel::tools
