#include "tools/commands/companion_index.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "shardreel/shard_url.h"
#include "tools/commands/index_build.h"
#include "tools/commands/text_json.h"

namespace shardreel::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t kBlock = 512;

Error refused(const CompanionShard& shard, std::string_view key, std::uint64_t offset,
              std::string why) {
  return Error{ErrorCode::kUnsupported, std::move(why), shard.url, std::string(key), offset};
}

std::uint64_t padded(std::uint64_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; }

/// The size in a header: octal digits, or beyond 8 GiB a binary number.
std::uint64_t size_field(const std::array<unsigned char, kBlock>& header) {
  constexpr std::size_t kField = 124, kFieldEnd = 136;
  std::uint64_t size = 0;
  if ((header[kField] & 0x80U) != 0) {
    for (std::size_t i = kFieldEnd - 8; i < kFieldEnd; ++i) size = size << 8 | header[i];
    return size;
  }
  for (std::size_t i = kField; i < kFieldEnd; ++i) {
    if (header[i] >= '0' && header[i] <= '7') size = size * 8 + (header[i] - '0');
  }
  return size;
}

/// The first regular file between members that we take, which we leave out and others may not.
std::optional<std::uint64_t> stray_file(const RandomAccess& file, std::uint64_t begin,
                                        std::uint64_t end) {
  while (begin + kBlock <= end) {
    std::array<unsigned char, kBlock> header{};
    const auto got = file.read_at(begin, std::as_writable_bytes(std::span(header)));
    if (!got || *got != kBlock || header[0] == 0) return std::nullopt;
    const unsigned char type = header[156];
    if (type == '0' || type == 0) return begin;
    const std::uint64_t size = padded(size_field(header));
    if (size > end - begin) return std::nullopt;
    begin += kBlock + size;
  }
  return std::nullopt;
}

const std::string& written_name(const IndexedField& field) {
  return field.written_name.empty() ? field.name : field.written_name;
}

/// What all three, or this one, would read as something else.
Result<void> check_field(const CompanionShard& shard, const IndexedSample& sample,
                         const IndexedField& field, const std::string& format) {
  const std::string name = sample.key + "." + written_name(field);
  const auto refuse = [&](std::string_view why) {
    return refused(shard, sample.key, field.offset,
                   fmt::format("member '{}' cannot be in an index for {}: {}", name, format, why));
  };
  if (!field.contiguous) return refuse("it is sparse");
  if (!is_utf8(name)) return refuse("its name is not UTF-8");
  if (format == "dali") {
    const auto blank = [](unsigned char c) { return c <= ' ' || c == 0x7f; };
    if (std::any_of(name.begin(), name.end(), blank)) return refuse("its name holds white space");
    if (field.name.empty()) return refuse("its field has no name");
  }
  if (format == "wids" && field.content_offset != field.offset + kBlock) {
    return refuse("its name takes an extended header, which wids does not read");
  }
  return {};
}

Result<void> check_samples(const CompanionShard& shard, const RandomAccess& file,
                           const std::string& format) {
  std::uint64_t end = 0;
  const auto check_gap = [&](std::uint64_t until, std::string_view key) -> Result<void> {
    // Energon leaves out what we leave out.
    const auto stray = format == "energon" ? std::nullopt : stray_file(file, end, until);
    if (!stray) return {};
    return refused(shard, key, *stray,
                   fmt::format("a file that belongs to no sample lies here, which {} would read as "
                               "one; expected none",
                               format));
  };
  std::uint64_t ordinal = 0;
  for (const IndexedSample& sample : shard.samples) {
    if (sample.ordinal != ordinal++) {
      return refused(
          shard, sample.key, sample.offset,
          fmt::format("a sample marked __bad__ lies before it, which {} would read", format));
    }
    // A video that cannot be read is the reader's matter; a sample that cannot is not.
    if (sample.fields.empty()) {
      Error error = sample.failure.value_or(Error{});
      error.message =
          fmt::format("{} (an index for {} is made of whole shards only)", error.message, format);
      return error.at(shard.url, sample.key, sample.offset);
    }
    for (const IndexedField& field : sample.fields) {
      if (auto gap = check_gap(field.offset, sample.key); !gap) return gap;
      if (auto good = check_field(shard, sample, field, format); !good) return good;
      end = field.content_offset + padded(field.size);
    }
  }
  if (shard.samples.empty()) return refused(shard, {}, 0, "the shard holds no samples");
  return check_gap(shard.bytes, {});
}

fs::path common_folder(const CompanionShards& shards) {
  fs::path common = fs::path(shards.front().path).parent_path();
  for (const CompanionShard& shard : shards) {
    const fs::path folder = fs::path(shard.path).parent_path();
    fs::path shared;
    for (auto a = common.begin(), b = folder.begin();
         a != common.end() && b != folder.end() && *a == *b; ++a, ++b) {
      shared /= *a;
    }
    common = shared;
  }
  return common;
}

std::string little_endian(std::uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

std::string energon_offsets(const CompanionShard& shard) {
  std::string bytes;
  for (const IndexedSample& sample : shard.samples) bytes += little_endian(sample.offset);
  return bytes + little_endian(shard.samples.back().end_offset);
}

std::string dali_lines(const CompanionShard& shard) {
  std::string lines;
  std::uint64_t count = 0;
  for (const IndexedSample& sample : shard.samples) {
    if (sample.key.ends_with('/')) continue;  // a hidden file; DALI skips those
    ++count;
    std::string_view separator;
    for (const IndexedField& field : sample.fields) {
      const std::string& name = written_name(field);
      lines += fmt::format("{}{} {} {} {}.{}", separator, name, field.content_offset, field.size,
                           sample.key, name);
      separator = " ";
    }
    lines += '\n';
  }
  return fmt::format("v1.2 {}\n{}", count, lines);
}

/// A name for this very data: the same samples at the same places give the same one.
std::string uuid_of(const CompanionShards& shards) {
  std::string text;
  for (const CompanionShard& shard : shards) text += energon_offsets(shard) + shard.path;
  XXH128_canonical_t hash{};
  XXH128_canonicalFromHash(&hash, XXH3_128bits(text.data(), text.size()));
  auto& digest = hash.digest;
  digest[6] = static_cast<unsigned char>((digest[6] & 0x0fU) | 0x80U);  // version 8: custom
  digest[8] = static_cast<unsigned char>((digest[8] & 0x3fU) | 0x80U);
  std::string uuid;
  for (std::size_t i = 0; i < sizeof digest; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) uuid += '-';
    uuid += fmt::format("{:02x}", digest[i]);
  }
  return uuid;
}

/// Where files go: `target` has the folders that the shards have below `root`.
struct Places {
  fs::path root, target;
  [[nodiscard]] std::string relative(const CompanionShard& shard) const {
    return fs::path(shard.path).lexically_relative(root).string();
  }
  [[nodiscard]] fs::path beside(const CompanionShard& shard, std::string_view suffix) const {
    fs::path name = target / relative(shard);
    if (name.extension() == ".tar") name.replace_extension();
    name += suffix;
    return name;
  }
};

}  // namespace

Result<void> list_companion_shard(CompanionShard& shard, const std::string& format,
                                  const std::stop_token& stop) {
  const auto path = local_shard_path(shard.url);
  auto samples = list_samples(shard.url, stop);
  if (!samples) return std::move(samples.error().at(shard.url));
  shard.samples = std::move(*samples);
  shard.path = fs::absolute(*path).lexically_normal().string();
  auto stream = open_file(*path);
  if (!stream) return std::move(stream.error());
  const auto file = (*stream)->random_access();
  shard.bytes = file->size();
  return check_samples(shard, *file, format);
}

Result<std::vector<std::string>> write_companion(const CompanionShards& shards,
                                                 const std::string& format,
                                                 const std::string& directory) {
  Places places{common_folder(shards), directory};
  if (directory.empty()) places.target = places.root;
  std::vector<std::string> paths;
  const auto write = [&paths](const fs::path& path, std::string_view bytes) {
    auto written = write_index_file(path.string(), bytes);
    if (written) paths.push_back(path.string());
    return written;
  };
  Json counts = Json::object(), list = Json::array();
  for (const CompanionShard& shard : shards) {
    Result<void> written;
    if (format == "energon") {
      counts[places.relative(shard)] = shard.samples.size();
      written = write(places.beside(shard, ".tar.idx"), energon_offsets(shard));
    } else if (format == "dali") {
      written = write(places.beside(shard, ".idx"), dali_lines(shard));
    } else {
      const bool below = places.root == places.target;
      list.push_back({{"url", below ? places.relative(shard) : shard.path},
                      {"nsamples", shard.samples.size()},
                      {"filesize", shard.bytes}});
    }
    if (!written) return std::move(written.error());
  }
  Result<void> written;
  if (format == "wids") {
    const Json index{
        {"__kind__", "wids-shard-index-v1"}, {"wids_version", 1}, {"shardlist", std::move(list)}};
    written = write(places.target / "wids.json", index.dump(2) + "\n");
  } else if (format == "energon") {
    const fs::path meta = places.target / ".nv-meta";
    written = write(meta / ".info.json", Json{{"shard_counts", std::move(counts)}}.dump(2) + "\n");
    if (written) {
      const std::string database = (meta / "index.sqlite").string();
      written = write_energon_database(shards, database);
      if (written) paths.push_back(database);
    }
    if (written) written = write(meta / "index.uuid", uuid_of(shards));
  }
  if (!written) return std::move(written.error());
  return paths;
}

}  // namespace shardreel::tools
