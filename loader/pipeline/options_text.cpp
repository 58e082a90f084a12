// Options as text: how the command line writes values, and what to say of names that are unknown.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loader/pipeline/options_table.h"

namespace shardreel {
namespace {

using Json = nlohmann::json;

/// Edits that turn one word into the other: insert, delete, replace, swap of neighbours.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const std::size_t replace = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({replace, cost[i - 1][j] + 1, cost[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

std::optional<Json> number_from_text(std::string_view text) {
  const char* last = text.data() + text.size();
  std::uint64_t whole_number = 0;
  const auto [end, status] = std::from_chars(text.data(), last, whole_number);
  if (status == std::errc{} && end == last) return Json(whole_number);
  const auto real = parse_number(text);
  if (real) return Json(*real);
  return std::nullopt;
}

}  // namespace

std::optional<double> parse_number(std::string_view text) {
  double number = 0;
  const char* last = text.data() + text.size();
  const auto [end, status] = std::from_chars(text.data(), last, number);
  if (status != std::errc{} || end != last) return std::nullopt;
  return number;
}

std::string unknown_option_message(std::string_view name) {
  std::string flat(name);
  std::replace(flat.begin(), flat.end(), '-', '_');
  const auto& rows = option_rows();
  const auto nearest =
      std::min_element(rows.begin(), rows.end(), [&](const auto& a, const auto& b) {
        return edit_distance(a.info.name, flat) < edit_distance(b.info.name, flat);
      });
  // Half of the name wrong is no slip of the fingers any more; a guess would mislead then.
  if (edit_distance(nearest->info.name, flat) * 2 > flat.size())
    return fmt::format("unknown option '{}'; docs/options.md lists them all", name);
  return fmt::format("unknown option '{}'; did you mean '{}'?", name, nearest->info.name);
}

std::optional<Json> json_from_text(TextForm form, std::string_view text) {
  const auto items = [&] {
    std::vector<std::string_view> parts;
    for (std::size_t begin = 0; !text.empty() && begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      parts.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    return parts;
  };
  switch (form) {
    case TextForm::kWord:
    case TextForm::kAppendWord: return Json(text);
    case TextForm::kBool:
      if (text == "true") return Json(true);
      if (text == "false") return Json(false);
      return std::nullopt;
    case TextForm::kNumber:
      // A word ("all") may stand for a number; the row knows which.
      return number_from_text(text).value_or(Json(text));
    case TextForm::kWords: return Json(items());
    case TextForm::kNumbers: {
      Json list = Json::array();
      for (const std::string_view item : items()) {
        const auto value = number_from_text(item);
        if (!value) return std::nullopt;
        list.push_back(*value);
      }
      return list;
    }
  }
  return std::nullopt;
}

}  // namespace shardreel
