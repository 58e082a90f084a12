#pragma once
// Shard URLs: patterns that name many shards, without ever writing the list out.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <shardreel/error.h>

namespace shardreel {

/// Return the path of a shard that is a file: a plain path or a `file:` URL. Nothing for `-`,
/// `pipe:` and other schemes.
std::optional<std::string> local_shard_path(std::string_view url);

/// An ordered list of shard URLs, kept as the patterns it was given as: `a-{000..999}.tar` takes
/// the same memory as one name. Immutable; safe to use from many threads.
class ShardList {
 public:
  /// Each spec may join several with `::`, use `${NAME}` (environment WDS_NAME), braces as bash
  /// expands them
  /// (`{000..123}`, `{a,b}`, steps, nesting), or be `@file` (one URL a line, verbatim; '#' lines
  /// are comments).
  static Result<ShardList> parse(const std::vector<std::string>& specs);

  [[nodiscard]] std::uint64_t size() const noexcept;
  /// Return the URL at `index` < size().
  [[nodiscard]] std::string at(std::uint64_t index) const;

 private:
  struct State;
  std::shared_ptr<const State> state_;  // shared: copies of a list are the same immutable list
};

}  // namespace shardreel
