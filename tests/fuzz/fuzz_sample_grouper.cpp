// Any bytes as a member's name: the split is the first that the rule's regular expression would
// find, by a slow reading of it, and what lower-casing gives is lower-cased.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "shards/sample_grouper.h"

namespace {

void require(bool held) {
  if (!held) std::abort();
}

/// ^((?:.*/|)[^.]+)[.]([^/]*)$ tried as it is written: the longest `.*/`, then none; for each the
/// longest stem. Returns the length of the key, 0 where nothing matches.
std::size_t key_length(std::string_view name) {
  for (std::size_t folder = name.size() + 1; folder-- > 0;) {
    const std::string_view head = name.substr(0, folder);
    if (folder > 0 && (head.back() != '/' || head.substr(0, folder - 1).find('\n') != head.npos)) {
      continue;
    }
    for (std::size_t end = name.size(); end-- > folder + 1;) {
      const std::string_view stem = name.substr(folder, end - folder);
      if (stem.find('.') == stem.npos && name[end] == '.' && name.find('/', end) == name.npos) {
        return end;
      }
    }
  }
  return 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view name(reinterpret_cast<const char*>(data), size);
  const auto split = shardreel::split_member_name(name);
  if (size <= 300) require((split ? split->key.size() : 0) == key_length(name));
  (void)shardreel::is_metadata_name(name);
  if (!split) return 0;
  require(std::string(split->key) + "." + std::string(split->field) == name);
  const std::string lower = shardreel::lower_field(split->field);
  require(lower.size() == split->field.size() && shardreel::lower_field(lower) == lower);
  return 0;
}
