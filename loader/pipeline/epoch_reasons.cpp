#include "loader/pipeline/epoch_reasons.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardreel {

void EpochReasons::add(std::string_view of, const Error& error) {
  const std::string_view word = to_string(error.code);
  auto known = std::ranges::find_if(
      reasons_, [&](const Reason& one) { return one.of == of && one.word == word; });
  if (known == reasons_.end())
    known = reasons_.insert(reasons_.end(), {of, word, 0, error.describe()});
  ++known->count;
}

std::string EpochReasons::describe() const {
  std::vector<Reason> all = reasons_;
  if (empty_.count > 0) all.push_back({"shard", "without samples", empty_.count, empty_.first});
  std::ranges::stable_sort(all, std::ranges::greater(), &Reason::count);
  std::string text;
  for (const Reason& one : all) {
    text += fmt::format("{}{} {}{} {} (the first: {})", text.empty() ? "" : ", ", one.count, one.of,
                        one.count == 1 ? "" : "s", one.word, one.first);
  }
  return text;
}

}  // namespace shardreel
