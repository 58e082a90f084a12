#include "tools/pack/tally.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string hex_of(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

/// Put a string of any bytes: readable, and exact beside it where JSON cannot hold it.
void put_bytes(Json& into, const std::string& name, const std::string& bytes) {
  const std::string text = Json(bytes).dump(-1, ' ', false, Json::error_handler_t::replace);
  into[name] = Json::parse(text);
  if (into[name].get<std::string>() != bytes) into[name + "_hex"] = hex_of(bytes);
}

std::string get_bytes(const Json& from, const std::string& name) {
  if (!from.contains(name + "_hex")) return from.at(name).get<std::string>();
  const std::string hex = from.at(name + "_hex").get<std::string>();
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

/// Every code there is, to read their words back.
ErrorCode code_from(std::string_view word) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    if (to_string(code) == word) return code;
  }
  return ErrorCode::kInternal;
}

void add(std::map<std::string, std::uint64_t>& to,
         const std::map<std::string, std::uint64_t>& from) {
  for (const auto& [name, count] : from) to[name] += count;
}

}  // namespace

Tally& Tally::operator+=(const Tally& other) {
  inputs += other.inputs;
  refused.insert(refused.end(), other.refused.begin(), other.refused.end());
  add(codecs, other.codecs);
  add(sizes, other.sizes);
  add(fields, other.fields);
  gain.videos += other.gain.videos;
  gain.source_bytes += other.gain.source_bytes;
  gain.bytes += other.gain.bytes;
  gain.source_window_frames += other.gain.source_window_frames;
  gain.window_frames += other.gain.window_frames;
  return *this;
}

Json to_json(const Refusal& refusal) {
  Json json;
  put_bytes(json, "path", refusal.path);
  if (!refusal.key.empty()) put_bytes(json, "key", refusal.key);
  json["code"] = to_string(refusal.code);
  json["reason"] = refusal.message;
  return json;
}

Json to_json(const Tally& tally) {
  Json refused = Json::array();
  for (const Refusal& refusal : tally.refused) refused.push_back(to_json(refusal));
  return {{"inputs", tally.inputs},
          {"refused", refused},
          {"codecs", tally.codecs},
          {"sizes", tally.sizes},
          {"fields", tally.fields},
          {"gain",
           {tally.gain.videos, tally.gain.source_bytes, tally.gain.bytes,
            tally.gain.source_window_frames, tally.gain.window_frames}}};
}

Json to_json(const ManifestShard& shard) {
  Json json = {{"name", shard.name},          {"split", shard.split},
               {"sha256", shard.sha256},      {"samples", shard.counts.samples},
               {"bytes", shard.counts.bytes}, {"payload_bytes", shard.counts.payload_bytes}};
  if (shard.counts.frames) json["frames"] = *shard.counts.frames;
  if (shard.counts.seconds) json["seconds"] = *shard.counts.seconds;
  return json;
}

Tally tally_from(const Json& json) {
  Tally tally;
  json.at("inputs").get_to(tally.inputs);
  for (const Json& one : json.at("refused")) {
    tally.refused.push_back(
        {get_bytes(one, "path"), one.contains("key") ? get_bytes(one, "key") : std::string(),
         code_from(one.at("code").get<std::string>()), one.at("reason").get<std::string>()});
  }
  json.at("codecs").get_to(tally.codecs);
  json.at("sizes").get_to(tally.sizes);
  json.at("fields").get_to(tally.fields);
  const Json& gain = json.at("gain");
  tally.gain = {gain.at(0).get<std::uint64_t>(), gain.at(1).get<std::uint64_t>(),
                gain.at(2).get<std::uint64_t>(), gain.at(3).get<double>(),
                gain.at(4).get<double>()};
  return tally;
}

ManifestShard shard_from(const Json& json) {
  ManifestShard shard;
  json.at("name").get_to(shard.name);
  json.at("split").get_to(shard.split);
  json.at("sha256").get_to(shard.sha256);
  json.at("samples").get_to(shard.counts.samples);
  json.at("bytes").get_to(shard.counts.bytes);
  json.at("payload_bytes").get_to(shard.counts.payload_bytes);
  if (json.contains("frames")) shard.counts.frames = json["frames"].get<std::uint64_t>();
  if (json.contains("seconds")) shard.counts.seconds = json["seconds"].get<double>();
  return shard;
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace shardreel::tools
