#include "tools/pack/input_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "tools/commands/text_json.h"

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

Error bad_line(const std::string& name, std::size_t line, std::string_view what) {
  return Error{ErrorCode::kInvalidOption,
               fmt::format("reading the manifest '{}', line {}: {}", name, line, what),
               {},
               {},
               {}};
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string_view without_mark(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return text;
}

/// Take a line off the front of `text`, without its end.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

/// Parse without recursion that an input could drive deep.
std::optional<Json> parse_json(std::string_view text) {
  constexpr int kMaxDepth = 64;
  bool deep = false;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    deep |= depth > kMaxDepth;
    return !deep;  // leaves out what is inside
  };
  Json value = Json::parse(text.begin(), text.end(), watch, false);
  if (value.is_discarded() || deep) return std::nullopt;
  return value;
}

/// One record of a CSV file; cells may hold line ends.
struct Record {
  std::vector<std::string> cells;
  std::size_t lines = 0;
  bool bad_quotes = false;
};

Record take_record(std::string_view& text) {
  Record record;
  std::string cell;
  bool quoted = false, was_quoted = false;
  std::size_t i = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++record.lines;
    if (quoted) {
      if (c != '"') {
        cell += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        cell += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"' && cell.empty() && !was_quoted) {
      quoted = was_quoted = true;
    } else if (c == ',') {
      record.cells.push_back(std::exchange(cell, {}));
      was_quoted = false;
    } else if (c == '\n') {
      break;
    } else if (c == '\r' && (i + 1 == text.size() || text[i + 1] == '\n')) {
      continue;
    } else {
      record.bad_quotes |= was_quoted;  // text behind the closing quote
      cell += c;
    }
  }
  record.cells.push_back(std::move(cell));
  record.bad_quotes |= quoted;
  text.remove_prefix(std::min(i + 1, text.size()));
  return record;
}

Json cell_value(const std::string& cell) {
  const auto value = parse_json(cell);
  const bool plain = value && (value->is_number() || value->is_boolean() || value->is_null());
  if (plain && dump(*value) == cell) return *value;
  return cell;
}

}  // namespace

std::vector<ListedVideo> parse_path_list(std::string_view text) {
  std::vector<ListedVideo> videos;
  text = without_mark(text);
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    if (!line.empty()) videos.push_back({std::string(line), {}});
  }
  return videos;
}

Result<std::vector<ListedVideo>> parse_jsonl(std::string_view text, const std::string& name) {
  std::vector<ListedVideo> videos;
  text = without_mark(text);
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = take_line(text);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    auto object = parse_json(line);
    if (!object || !object->is_object()) return bad_line(name, number, "expected a JSON object");
    const auto path = object->find("path");
    if (path == object->end() || !path->is_string() || path->get<std::string>().empty()) {
      return bad_line(name, number, "expected a string in the column 'path'");
    }
    ListedVideo video{path->get<std::string>(), {}};
    object->erase("path");
    if (!object->empty()) video.columns = dump(*object);
    videos.push_back(std::move(video));
  }
  return videos;
}

Result<std::vector<ListedVideo>> parse_csv(std::string_view text, const std::string& name) {
  std::vector<ListedVideo> videos;
  text = without_mark(text);
  std::size_t line = 1;
  const Record head = take_record(text);
  const auto path_at = std::find(head.cells.begin(), head.cells.end(), "path");
  if (path_at == head.cells.end()) {
    return bad_line(name, line, "expected names of columns, one of them 'path'");
  }
  for (std::size_t i = 0; i < head.cells.size(); ++i) {
    if (!is_utf8(head.cells[i]))
      return bad_line(name, line, fmt::format("the name of column {} is not UTF-8", i + 1));
  }
  if (std::set<std::string>(head.cells.begin(), head.cells.end()).size() != head.cells.size()) {
    return bad_line(name, line, "a column's name comes twice");
  }
  const auto path_column = static_cast<std::size_t>(path_at - head.cells.begin());
  for (line += head.lines; !text.empty();) {
    const Record record = take_record(text);
    const std::size_t at = std::exchange(line, line + record.lines);
    if (record.bad_quotes) return bad_line(name, at, "quotes that do not close a whole cell");
    if (record.cells.size() == 1 && record.cells[0].empty()) continue;
    if (record.cells.size() != head.cells.size()) {
      return bad_line(name, at,
                      fmt::format("{} cells; expected {}", record.cells.size(), head.cells.size()));
    }
    ListedVideo video{record.cells[path_column], {}};
    if (video.path.empty()) return bad_line(name, at, "the column 'path' is empty");
    Json columns = Json::object();
    for (std::size_t i = 0; i < head.cells.size(); ++i) {
      if (i == path_column) continue;
      if (!is_utf8(record.cells[i]))
        return bad_line(name, at,
                        fmt::format("the cell of column '{}' is not UTF-8, as JSON has to be; "
                                    "convert the file",
                                    head.cells[i]));
      columns[head.cells[i]] = cell_value(record.cells[i]);
    }
    if (!columns.empty()) video.columns = dump(columns);
    videos.push_back(std::move(video));
  }
  return videos;
}

Result<std::string> merge_columns(std::string_view sidecar, std::string_view columns) {
  Json merged = Json::object();
  if (!sidecar.empty()) {
    auto parsed = parse_json(sidecar);
    if (!parsed || !parsed->is_object()) {
      return Error{ErrorCode::kUnsupported,
                   "its .json is not a JSON object, so nothing can be added to it",
                   {},
                   {},
                   {}};
    }
    merged = std::move(*parsed);
  }
  const Json added = Json::parse(columns, nullptr, false);
  for (const auto& [name, value] : added.items()) merged[name] = value;
  return dump(merged);
}

}  // namespace shardreel::tools
