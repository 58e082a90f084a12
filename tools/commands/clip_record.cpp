#include "tools/commands/clip_record.h"

#include <fmt/format.h>

#include <array>
#include <new>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "tools/commands/text_json.h"

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

/// Append an integer's bytes, the least first, on any machine.
void append_u64(std::vector<std::uint8_t>& bytes, std::uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8)
    bytes.push_back(static_cast<std::uint8_t>(value >> shift));
}

void append_text(std::vector<std::uint8_t>& bytes, std::string_view text) {
  append_u64(bytes, text.size());
  bytes.insert(bytes.end(), text.begin(), text.end());
}

Digest canonical(XXH128_hash_t hash) {
  XXH128_canonical_t bytes{};
  XXH128_canonicalFromHash(&bytes, hash);
  return std::to_array(bytes.digest);
}

XXH3_state_t* new_state() {
  XXH3_state_t* state = XXH3_createState();
  if (state == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state);
  return state;
}

}  // namespace

std::string hex(std::span<const std::uint8_t> bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

ClipDigests::ClipDigests(bool pixels)
    : order_(new_state()), pixels_(pixels ? new_state() : nullptr) {}

void ClipDigests::add(const ClipInfo& clip, std::span<const std::byte> pixels) {
  std::vector<std::uint8_t> facts;
  append_u64(facts, clip.id.shard);
  append_text(facts, clip.sample->key);
  append_u64(facts, clip.frame_index.size());
  for (const std::int64_t index : clip.frame_index)
    append_u64(facts, static_cast<std::uint64_t>(index));
  XXH3_128bits_update(order_.get(), facts.data(), facts.size());
  if (!pixels_) return;
  XXH3_128bits_update(pixels_.get(), facts.data(), facts.size());
  XXH3_128bits_update(pixels_.get(), pixels.data(), pixels.size());
}

Digest ClipDigests::order() const { return canonical(XXH3_128bits_digest(order_.get())); }
std::optional<Digest> ClipDigests::pixels() const {
  if (!pixels_) return std::nullopt;
  return canonical(XXH3_128bits_digest(pixels_.get()));
}

Digest combine(std::span<const Digest> lanes) {
  std::vector<std::uint8_t> bytes;
  for (const Digest& lane : lanes) bytes.insert(bytes.end(), lane.begin(), lane.end());
  return canonical(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string clip_line(const ClipInfo& clip, std::size_t lane, std::span<const std::byte> pixels) {
  Json line;
  line["id"] = {{"epoch", clip.id.epoch},
                {"shard", clip.id.shard},
                {"sample", clip.id.sample},
                {"window", clip.id.window}};
  add_text(line, "key", clip.sample->key);
  add_text(line, "shard", clip.sample->shard);
  line["lane"] = lane;
  line["frame_indices"] = clip.frame_index;
  line["pts"] = clip.pts_seconds;  // a time that is not known (NaN) becomes null
  line["xxh64"] = fmt::format("{:016x}", XXH64(pixels.data(), pixels.size(), 0));
  if (clip.corrupt) line["corrupt"] = true;
  return line.dump() + "\n";
}

}  // namespace shardreel::tools
