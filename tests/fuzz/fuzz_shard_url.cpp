// A hostile pattern: parsing ends, and every URL of a list can be written out.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "shardreel/shard_url.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string spec(reinterpret_cast<const char*>(data), size);
  if (spec.starts_with('@')) return 0;  // would open files
  const auto list = shardreel::ShardList::parse({spec});
  if (!list) {
    if (list.error().message.empty()) std::abort();
    return 0;
  }
  const std::uint64_t count = list->size();
  if (count == 0) std::abort();
  std::string last;
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(count, 50); ++i) last = list->at(i);
  if (count <= 50 && list->at(count - 1) != last) std::abort();
  (void)list->at(count / 2);
  (void)list->at(count - 1);
  return 0;
}
