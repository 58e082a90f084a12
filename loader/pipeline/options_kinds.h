#pragma once
// How a row of the option table reads and writes its member, by kind of member. Only for
// options_table.cpp.

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "loader/pipeline/options_table.h"
#include "shardreel/units.h"

namespace shardreel::option_kinds {

using Json = nlohmann::json;

/// An enumeration's words, in the order of its values.
using Words = std::vector<std::string>;

inline OptionRow row(std::string name, std::string values, std::string decides, std::string help,
                     TextForm form, std::function<Json(const LoaderOptions&)> get,
                     std::function<bool(LoaderOptions&, const Json&)> set) {
  OptionRow made;
  made.info = {std::move(name), std::move(values), {}, std::move(decides), std::move(help)};
  made.form = form;
  made.get = std::move(get);
  made.set = std::move(set);
  made.info.initial = made.get(LoaderOptions{}).dump();
  return made;
}

/// A row's words for people; the access to its member is given beside it.
struct About {
  std::string name, values, decides, help;
};

template <std::unsigned_integral Int>
bool take_whole(const Json& value, Int& into) {
  // A negative number is "integer" but not "unsigned" for the JSON library.
  if (!value.is_number_unsigned()) return false;
  const auto number = value.get<std::uint64_t>();
  if (number > std::numeric_limits<Int>::max()) return false;
  into = static_cast<Int>(number);
  return true;
}

/// A whole number. `access` returns a reference to the member.
template <typename Access>
OptionRow whole(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kNumber,
      [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) { return take_whole(value, access(o)); });
}

/// A whole number whose member holds 0 for `zero_word` (null: the option is unset).
template <typename Access>
OptionRow whole_or(About about, std::optional<std::string> zero_word, Access access) {
  const Json zero = zero_word ? Json(*zero_word) : Json(nullptr);
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kNumber,
      [access, zero](const LoaderOptions& o) { return access(o) == 0 ? zero : Json(access(o)); },
      [access, zero](LoaderOptions& o, const Json& value) {
        if (value == zero) {
          access(o) = 0;
          return true;
        }
        auto number = access(o);
        if (!take_whole(value, number) || number == 0) return false;
        access(o) = number;
        return true;
      });
}

/// An optional member; null = unset.
template <typename Access, typename Take>
OptionRow maybe(About about, TextForm form, Access access, Take take) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), form,
      [access](const LoaderOptions& o) { return access(o) ? Json(*access(o)) : Json(nullptr); },
      [access, take](LoaderOptions& o, const Json& value) {
        if (value.is_null()) {
          access(o).reset();
          return true;
        }
        typename std::remove_reference_t<decltype(access(o))>::value_type taken{};
        if (!take(value, taken)) return false;
        access(o) = taken;
        return true;
      });
}

inline bool take_number(const Json& value, double& into) {
  if (!value.is_number()) return false;
  into = value.get<double>();
  return true;
}

inline bool take_bool(const Json& value, bool& into) {
  if (!value.is_boolean()) return false;
  into = value.get<bool>();
  return true;
}

template <typename Access>
OptionRow number(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kNumber,
      [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) { return take_number(value, access(o)); });
}

template <typename Access>
OptionRow truth(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kBool,
      [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) { return take_bool(value, access(o)); });
}

inline std::string lower_case(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

/// One of `words`, in any case; `values` is made of them.
template <typename Access>
OptionRow choice(About about, Words words, Access access) {
  for (const std::string& word : words) about.values += (about.values.empty() ? "" : ", ") + word;
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kWord,
      [access, words](const LoaderOptions& o) {
        return Json(words.at(static_cast<std::size_t>(access(o))));
      },
      [access, words](LoaderOptions& o, const Json& value) {
        if (!value.is_string()) return false;
        const std::string wanted = lower_case(value.get<std::string>());
        const auto found = std::find_if(words.begin(), words.end(), [&](const std::string& word) {
          return lower_case(word) == wanted;
        });
        if (found == words.end()) return false;
        access(o) =
            static_cast<std::remove_reference_t<decltype(access(o))>>(found - words.begin());
        return true;
      });
}

/// A list of texts; one text alone is a list of one.
template <typename Access>
OptionRow words(About about, TextForm form, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), form, [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) {
        const Json list = value.is_string() ? Json::array({value}) : value;
        if (!list.is_array() || !std::all_of(list.begin(), list.end(),
                                             [](const Json& item) { return item.is_string(); })) {
          return false;
        }
        access(o) = list.get<std::vector<std::string>>();
        return true;
      });
}

/// Lines "Name: value" of HTTP. They are written without values, which may be secrets, unless those
/// come from the environment.
template <typename Access>
OptionRow headers(About about, Access access) {
  OptionRow made = words(std::move(about), TextForm::kAppendWord, access);
  made.get = [access](const LoaderOptions& o) {
    Json list = Json::array();
    for (const std::string& line : access(o)) {
      const bool open = line.find("${") != std::string::npos;
      list.push_back(open ? line : line.substr(0, line.find(':')) + ": ***");
    }
    return list;
  };
  return made;
}

/// A list of numbers; one number alone is a list of one.
template <typename Access>
OptionRow numbers(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kNumbers,
      [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) {
        const Json list = value.is_number() ? Json::array({value}) : value;
        if (!list.is_array() || !std::all_of(list.begin(), list.end(),
                                             [](const Json& item) { return item.is_number(); })) {
          return false;
        }
        access(o) = list.get<std::vector<double>>();
        return true;
      });
}

/// A folder's name; null = the member is empty.
template <typename Access>
OptionRow folder(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kWord,
      [access](const LoaderOptions& o) {
        return access(o).empty() ? Json(nullptr) : Json(access(o));
      },
      [access](LoaderOptions& o, const Json& value) {
        if (!value.is_null() && !value.is_string()) return false;
        access(o) = value.is_null() ? std::string() : value.get<std::string>();
        return true;
      });
}

/// A byte size kept as bytes.
template <typename Access>
OptionRow bytes(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kWord,
      [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) {
        if (!value.is_string()) return take_whole(value, access(o));
        const Result<std::uint64_t> parsed = parse_bytes(value.get_ref<const std::string&>());
        if (parsed) access(o) = *parsed;
        return parsed.has_value();
      });
}

/// A byte size kept as text, because a part of a limit is known only when the loader opens;
/// `validate` judges the text. Null = the member is empty.
template <typename Access>
OptionRow bytes_text(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kWord,
      [access](const LoaderOptions& o) {
        return access(o).empty() ? Json(nullptr) : Json(access(o));
      },
      [access](LoaderOptions& o, const Json& value) {
        std::uint64_t count = 0;
        if (value.is_null()) {
          access(o).clear();
        } else if (value.is_string()) {
          access(o) = value.get<std::string>();
        } else if (take_whole(value, count)) {
          access(o) = std::to_string(count);
        } else {
          return false;
        }
        return true;
      });
}

/// "0.75" or "3/4".
inline std::optional<double> parse_fraction(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return parse_number(text);
  const auto above = parse_number(text.substr(0, slash));
  const auto below = parse_number(text.substr(slash + 1));
  if (!above || !below || *below == 0) return std::nullopt;
  return *above / *below;
}

/// A pair "min-max" or [min, max], in two members.
template <typename Low, typename High>
OptionRow range(About about, Low low, High high) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kWord,
      [low, high](const LoaderOptions& o) {
        return Json::array({low(o), high(o)});
      },
      [low, high](LoaderOptions& o, const Json& value) {
        std::optional<double> from, to;
        if (value.is_string()) {
          const std::string& text = value.get_ref<const std::string&>();
          const std::size_t dash = text.find('-');
          if (dash == std::string::npos) return false;
          from = parse_fraction(std::string_view(text).substr(0, dash));
          to = parse_fraction(std::string_view(text).substr(dash + 1));
        } else if (value.is_array() && value.size() == 2 && value[0].is_number() &&
                   value[1].is_number()) {
          from = value[0].get<double>();
          to = value[1].get<double>();
        }
        if (!from || !to) return false;
        low(o) = *from;
        high(o) = *to;
        return true;
      });
}

}  // namespace shardreel::option_kinds
