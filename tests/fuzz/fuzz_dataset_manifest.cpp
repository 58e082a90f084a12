// A hostile dataset.json: reading ends, and what was accepted is written and read back the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "shards/dataset_manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto manifest = shardreel::parse_dataset_manifest(text);
  if (!manifest) {
    if (manifest.error().message.empty()) std::abort();
    return 0;
  }
  for (const auto& shard : manifest->shards) {
    if (!shardreel::is_safe_relative_name(shard.name)) std::abort();
  }
  const std::string written = to_json(*manifest);
  const auto again = shardreel::parse_dataset_manifest(written);
  if (!again || !(*again == *manifest) || to_json(*again) != written) std::abort();
  return 0;
}
