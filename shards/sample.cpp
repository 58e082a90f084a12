#include "shardreel/sample.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardreel {

Result<std::string> Field::text() const {
  const std::uint64_t bytes = content ? content->size() : 0;
  std::string all;
  if (bytes > all.max_size()) {
    return Error{ErrorCode::kTooLarge,
                 fmt::format("field {}: {} bytes do not fit a string", name, bytes),
                 {},
                 {},
                 {}};
  }
  all.resize(static_cast<std::size_t>(bytes));
  if (bytes == 0) return all;
  auto got = content->read_at(0, std::as_writable_bytes(std::span(all)));
  if (!got) return std::move(got.error());
  if (*got != bytes) {
    return Error{ErrorCode::kTruncated,
                 fmt::format("field {}: read {} of its {} bytes", name, *got, bytes),
                 {},
                 {},
                 offset};
  }
  return all;
}

const Field* Sample::find(std::string_view name) const {
  const auto found = std::find_if(fields.begin(), fields.end(),
                                  [&](const Field& field) { return field.name == name; });
  return found == fields.end() ? nullptr : &*found;
}

}  // namespace shardreel
