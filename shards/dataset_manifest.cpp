#include "shards/dataset_manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "shardreel/byte_source.h"
#include "shardreel/units.h"
#include "shards/sha256.h"

namespace shardreel {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "shardreel-dataset";
constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kMaxDepth = 32;  // the JSON library recurses when it writes
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 30;

Error corrupt(std::string message) {
  return Error{ErrorCode::kCorruptArchive, "dataset manifest: " + std::move(message), {}, {}, {}};
}

/// Thrown while one manifest is read, caught in `parse_dataset_manifest`.
struct Malformed {
  std::string message;
};

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void put_counts(Json& into, const ManifestCounts& counts) {
  into["samples"] = counts.samples;
  into["bytes"] = counts.bytes;
  into["payload_bytes"] = counts.payload_bytes;
  if (counts.frames) into["frames"] = *counts.frames;
  if (counts.seconds) into["seconds"] = *counts.seconds;
}

/// How deep brackets are nested outside strings.
std::size_t nesting(std::string_view text) {
  std::size_t depth = 0, most = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      most = std::max(most, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return most;
}

const Json* find(const Json& object, const char* name) {
  const auto at = object.find(name);
  return at == object.end() ? nullptr : &*at;
}

const Json& need(const Json& object, const char* name, const std::string& where) {
  const Json* value = find(object, name);
  if (value == nullptr) throw Malformed{fmt::format("{}: '{}' is missing", where, name)};
  return *value;
}

std::uint64_t count_of(const Json& value, const std::string& where) {
  if (!value.is_number_unsigned()) throw Malformed{where + ": expected a whole number from 0"};
  return value.get<std::uint64_t>();
}

std::string text_of(const Json& value, const std::string& where) {
  if (!value.is_string()) throw Malformed{where + ": expected a string"};
  return value.get<std::string>();
}

ManifestCounts read_counts(const Json& from, const std::string& where) {
  const auto count = [&](const char* name) {
    return count_of(need(from, name, where), fmt::format("{}, '{}'", where, name));
  };
  ManifestCounts counts;
  counts.samples = count("samples");
  counts.bytes = count("bytes");
  counts.payload_bytes = count("payload_bytes");
  if (find(from, "frames") != nullptr) counts.frames = count("frames");
  if (const Json* seconds = find(from, "seconds")) {
    if (!seconds->is_number() || !std::isfinite(seconds->get<double>()) ||
        seconds->get<double>() < 0) {
      throw Malformed{where + ", 'seconds': expected a number from 0"};
    }
    counts.seconds = seconds->get<double>();
  }
  return counts;
}

std::map<std::string, std::uint64_t> read_histogram(const Json& top, const char* name) {
  std::map<std::string, std::uint64_t> histogram;
  const Json& from = need(top, name, "top");
  if (!from.is_object()) throw Malformed{fmt::format("'{}': expected an object", name)};
  for (const auto& [key, value] : from.items()) {
    histogram[key] = count_of(value, fmt::format("'{}', '{}'", name, key));
  }
  return histogram;
}

ManifestShard read_shard(const Json& from, const std::string& where) {
  if (!from.is_object()) throw Malformed{where + ": expected an object"};
  ManifestShard shard;
  shard.name = text_of(need(from, "name", where), where + ", 'name'");
  if (!is_safe_relative_name(shard.name)) {
    throw Malformed{
        fmt::format("{}: the name '{}' is no path below this folder", where, shard.name)};
  }
  if (const Json* split = find(from, "split")) shard.split = text_of(*split, where + ", 'split'");
  shard.sha256 = text_of(need(from, "sha256", where), where + ", 'sha256'");
  if (!is_sha256_hex(shard.sha256)) {
    throw Malformed{where + ", 'sha256': expected 64 lower-case hexadecimal digits"};
  }
  shard.counts = read_counts(from, where);
  return shard;
}

/// Sums whose terms are hostile: nothing when they do not fit.
std::optional<ManifestCounts> sum_of(const std::vector<ManifestShard>& shards) {
  ManifestCounts sum;
  sum.frames = 0;
  sum.seconds = 0;
  for (const ManifestShard& shard : shards) {
    if (!checked_add(sum.samples, shard.counts.samples) ||
        !checked_add(sum.bytes, shard.counts.bytes) ||
        !checked_add(sum.payload_bytes, shard.counts.payload_bytes) ||
        !checked_add(sum.frames.value_or(0), shard.counts.frames.value_or(0))) {
      return std::nullopt;
    }
    sum += shard.counts;
  }
  return sum;
}

void check_sums(const DatasetManifest& manifest) {
  const auto sum = sum_of(manifest.shards);
  const ManifestCounts& total = manifest.counts;
  const bool seconds_agree =
      sum && sum->seconds.has_value() == total.seconds.has_value() &&
      (!total.seconds || std::abs(*sum->seconds - *total.seconds) <= 1e-6 * (1 + *total.seconds));
  if (!sum || sum->samples != total.samples || sum->bytes != total.bytes ||
      sum->payload_bytes != total.payload_bytes || sum->frames != total.frames || !seconds_agree) {
    throw Malformed{"the totals are not the sums over the shards"};
  }
}

DatasetManifest read_manifest(const Json& top) {
  if (!top.is_object()) throw Malformed{"expected a JSON object"};
  if (text_of(need(top, "format", "top"), "'format'") != kFormat) {
    throw Malformed{fmt::format("'format': expected \"{}\"", kFormat)};
  }
  if (const auto version = count_of(need(top, "version", "top"), "'version'");
      version != kVersion) {
    throw Malformed{fmt::format("version {}; this build reads version {}", version, kVersion)};
  }
  DatasetManifest manifest;
  manifest.tool = text_of(need(top, "tool", "top"), "'tool'");
  const Json& options = need(top, "options", "top");
  if (!options.is_object()) throw Malformed{"'options': expected an object"};
  manifest.options = dump(options);
  manifest.counts = read_counts(top, "top");
  manifest.refused = count_of(need(top, "refused", "top"), "'refused'");
  manifest.codecs = read_histogram(top, "codecs");
  manifest.sizes = read_histogram(top, "sizes");
  manifest.fields = read_histogram(top, "fields");
  const Json& shards = need(top, "shards", "top");
  if (!shards.is_array()) throw Malformed{"'shards': expected a list"};
  std::set<std::string> names;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    manifest.shards.push_back(read_shard(shards[i], fmt::format("shard {}", i)));
    if (!names.insert(manifest.shards.back().name).second) {
      throw Malformed{fmt::format("the shard '{}' is listed twice", manifest.shards.back().name)};
    }
  }
  check_sums(manifest);
  return manifest;
}

}  // namespace

ManifestCounts& ManifestCounts::operator+=(const ManifestCounts& other) {
  samples += other.samples;
  bytes += other.bytes;
  payload_bytes += other.payload_bytes;
  frames = frames && other.frames ? std::optional(*frames + *other.frames) : std::nullopt;
  seconds = seconds && other.seconds ? std::optional(*seconds + *other.seconds) : std::nullopt;
  return *this;
}

std::string to_json(const DatasetManifest& manifest) {
  Json head;
  head["format"] = kFormat;
  head["version"] = kVersion;
  head["tool"] = manifest.tool;
  put_counts(head, manifest.counts);
  head["refused"] = manifest.refused;
  head["codecs"] = manifest.codecs;
  head["sizes"] = manifest.sizes;
  head["fields"] = manifest.fields;
  std::string text = "{\n";
  for (const auto& [name, value] : head.items()) {
    text += fmt::format(" {}: {},\n", dump(name), dump(value));
  }
  // The text is a valid object (whoever filled it wrote it with the JSON library) or nothing.
  const Json options = Json::parse(manifest.options, nullptr, false);
  text +=
      fmt::format(" \"options\": {},\n \"shards\": [", options.is_object() ? dump(options) : "{}");
  for (std::size_t i = 0; i < manifest.shards.size(); ++i) {
    const ManifestShard& shard = manifest.shards[i];
    Json line;
    line["name"] = shard.name;
    if (!shard.split.empty()) line["split"] = shard.split;
    put_counts(line, shard.counts);
    line["sha256"] = shard.sha256;
    text += fmt::format("{}\n  {}", i == 0 ? "" : ",", dump(line));
  }
  return text + (manifest.shards.empty() ? "]\n}\n" : "\n ]\n}\n");
}

Result<DatasetManifest> parse_dataset_manifest(std::string_view text) {
  if (nesting(text) > kMaxDepth) return corrupt("brackets are nested too deeply");
  const Json top = Json::parse(text.begin(), text.end(), nullptr, false);
  if (top.is_discarded()) return corrupt("not JSON");
  try {
    return read_manifest(top);
  } catch (const Malformed& malformed) {
    return corrupt(malformed.message);
  }
}

Result<DatasetManifest> read_dataset_manifest(const std::string& path) {
  auto stream = open_file(path);
  if (!stream) return std::move(stream.error());
  const auto content = (*stream)->random_access();
  if (content->size() > kMaxFileBytes) {
    return corrupt(fmt::format("'{}' has {}; expected at most {}", path,
                               format_bytes(content->size()), format_bytes(kMaxFileBytes)));
  }
  std::string text(static_cast<std::size_t>(content->size()), '\0');
  const auto got = content->read_at(0, std::as_writable_bytes(std::span(text)));
  if (!got) return got.error();
  text.resize(*got);
  auto manifest = parse_dataset_manifest(text);
  if (!manifest) manifest.error().message += fmt::format(" (reading '{}')", path);
  return manifest;
}

bool is_safe_relative_name(std::string_view name) noexcept {
  if (name.empty() || name.find('\0') != std::string_view::npos) return false;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

}  // namespace shardreel
