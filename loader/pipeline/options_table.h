#pragma once
// The one table of options: JSON, command line, docs/options.md and error texts come from it.

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardreel/options.h"

namespace shardreel {

/// How an option is written on the command line; `json_from_text` follows it.
enum class TextForm {
  kWord,        ///< the text itself is the value: enumerations, sizes, folders
  kNumber,      ///< a number
  kBool,        ///< true or false
  kWords,       ///< a list, separated by commas
  kNumbers,     ///< a list of numbers, separated by commas
  kAppendWord,  ///< the text is one more item of the list
};

/// One option: what people read, and how the member is written and read.
struct OptionRow {
  OptionInfo info;  ///< `initial` is filled in from `get` of a default LoaderOptions
  TextForm form = TextForm::kWord;
  std::function<nlohmann::json(const LoaderOptions&)> get;
  /// Store the value; false when it is not what `info.values` describes (nothing is changed then).
  std::function<bool(LoaderOptions&, const nlohmann::json&)> set;
};

/// Return the rows in the order of the documentation. Immutable, made once; safe from any thread.
[[nodiscard]] const std::vector<OptionRow>& option_rows();

/// Return the row with this flat name (dashes count as underscores), or null.
[[nodiscard]] const OptionRow* find_option(std::string_view name);

/// Return "unknown option 'nmu_frames'; did you mean 'num_frames'?".
[[nodiscard]] std::string unknown_option_message(std::string_view name);

/// Turn command-line text into the JSON that `OptionRow::set` takes; nothing when it has not the
/// form.
[[nodiscard]] std::optional<nlohmann::json> json_from_text(TextForm form, std::string_view text);

/// Parse a whole text as a number; nothing when it is none.
[[nodiscard]] std::optional<double> parse_number(std::string_view text);

}  // namespace shardreel
