#include "shardreel/options.h"

#include <fmt/format.h>

#include <set>
#include <string>
#include <vector>

#include "loader/pipeline/options_table.h"

namespace shardreel {
namespace {

using Json = nlohmann::json;

Error invalid(std::string message) {
  return Error{ErrorCode::kInvalidOption, std::move(message), {}, {}, {}};
}

/// The text of a value in an error, short enough to read. Bytes that are not UTF-8 are replaced.
std::string shown(const Json& value) {
  constexpr std::size_t kMostShown = 60;
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kMostShown) text = text.substr(0, kMostShown) + "…";
  return text;
}

std::string wrong_value_message(const OptionRow& row, const Json& value) {
  return fmt::format("{} takes {}, not {}", row.info.name, row.info.values, shown(value));
}

/// Parse one object. The library keeps the last of two equal names silently; they are reported
/// instead.
Json parse_object(std::string_view text, std::vector<std::string>& problems) {
  std::set<std::string> seen;
  const auto watch_names = [&](int depth, Json::parse_event_t event, Json& parsed) {
    // Options are two levels deep; what lies deeper is nonsense that would be printed recursively.
    if (depth > 8) return false;
    if (depth == 1 && event == Json::parse_event_t::key) {
      const std::string& name = parsed.get_ref<const std::string&>();
      if (!seen.insert(name).second)
        problems.push_back(fmt::format("option '{}' is given twice", name));
    }
    return true;
  };
  try {
    Json parsed = Json::parse(text, watch_names);
    if (parsed.is_object()) return parsed;
    problems.push_back("the options are one JSON object, not " + shown(parsed));
  } catch (const Json::exception& failure) {
    problems.push_back(fmt::format("the options are not JSON: {}", failure.what()));
  }
  return Json::object();
}

}  // namespace

Result<LoaderOptions> LoaderOptions::from_json(std::string_view text) {
  std::vector<std::string> problems;
  const Json object = parse_object(text, problems);
  LoaderOptions options;
  for (const auto& [name, value] : object.items()) {
    const OptionRow* row = find_option(name);
    // Dashes are the command line's spelling only: one spelling a place.
    if (row == nullptr || row->info.name != name) {
      problems.push_back(unknown_option_message(name));
    } else if (!row->set(options, value)) {
      problems.push_back(wrong_value_message(*row, value));
    }
  }
  if (!problems.empty()) return invalid(fmt::format("{}", fmt::join(problems, "\n")));
  return options;
}

std::string LoaderOptions::to_json() const {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const OptionRow& row : option_rows()) object[row.info.name] = row.get(*this);
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

const std::vector<OptionInfo>& option_table() {
  static const std::vector<OptionInfo> kTable = [] {
    std::vector<OptionInfo> table;
    for (const OptionRow& row : option_rows()) table.push_back(row.info);
    return table;
  }();
  return kTable;
}

Result<void> set_option(LoaderOptions& options, std::string_view name, std::string_view text) {
  const OptionRow* row = find_option(name);
  if (row == nullptr) return invalid(unknown_option_message(name));
  std::optional<Json> value = json_from_text(row->form, text);
  if (row->form == TextForm::kAppendWord) {
    Json list = row->get(options);
    list.push_back(std::string(text));
    value = std::move(list);
  }
  if (!value || !row->set(options, *value))
    return invalid(wrong_value_message(*row, Json(std::string(text))));
  return {};
}

}  // namespace shardreel
