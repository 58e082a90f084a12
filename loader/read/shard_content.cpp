#include "loader/read/shard_content.h"

#include <fmt/format.h>

#include <utility>

#include "loader/read/http/remote_object.h"
#include "shardreel/shard_index.h"

namespace shardreel {

bool ShardContent::differs(const ShardContent& other) const {
  const auto contradict = [](const std::string& a, const std::string& b) {
    return !a.empty() && !b.empty() && a != b;
  };
  return size != other.size || contradict(etag, other.etag) || contradict(sample, other.sample);
}

std::string ShardContent::describe() const {
  std::string text = fmt::format("{} bytes", size);
  if (!etag.empty()) text += ", ETag " + etag;
  if (!sample.empty()) text += ", content " + sample;
  return text;
}

Result<std::optional<ShardContent>> look_at_content(const ByteStream& stream) {
  const auto access = stream.random_access();
  if (access == nullptr) return std::optional<ShardContent>();
  if (const auto* object = dynamic_cast<const RemoteObject*>(access.get())) {
    const ObjectIdentity& known = object->identity();
    const bool strong = known.etag.starts_with('"');
    return std::optional(ShardContent{known.size, strong ? known.etag : "", ""});
  }
  const auto identity = identify_shard(*access);
  if (!identity) return identity.error();
  return std::optional(
      ShardContent{identity->bytes, "", fmt::format("{:016x}", identity->fingerprint)});
}

}  // namespace shardreel
