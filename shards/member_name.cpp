#include "shards/member_name.h"

#include <fmt/format.h>

#include <utility>

#include "shards/sample_grouper.h"

namespace shardreel {

Result<void> check_member_name(std::string_view key, std::string_view field) {
  const std::string name = fmt::format("{}.{}", key, field);
  const auto refuse = [&](std::string_view why) {
    return Error{ErrorCode::kInvalidOption,
                 fmt::format("key '{}' with field '{}': {}", key, field, why),
                 {},
                 std::string(key),
                 {}};
  };
  if (key.empty()) return refuse("the key is empty");
  if (name.find('\0') != std::string::npos) return refuse("names cannot hold a zero byte");
  const auto split = split_member_name(name);
  if (!split) return refuse("a reader would ignore the member");
  if (split->key != key || split->field != field) {
    return refuse(fmt::format("a reader would take it as key '{}' with field '{}'", split->key,
                              split->field));
  }
  if (lower_field(field) != field) {
    return refuse(fmt::format("a reader would lower the field to '{}'", lower_field(field)));
  }
  if (is_metadata_name(name)) return refuse("a reader would skip the member as metadata");
  if (is_reserved_field(field) || field == "__bad__") return refuse("the field name is reserved");
  return {};
}

}  // namespace shardreel
