#include "tools/commands/pack.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "shardreel/shard_writer.h"
#include "shardreel/units.h"
#include "tools/commands/pack_files.h"

namespace shardreel::tools {
namespace {

namespace fs = std::filesystem;

/// Open all files of a sample, or say why it is refused.
Result<std::vector<FieldToWrite>> open_sample(const FoundSample& sample) {
  std::vector<FieldToWrite> fields;
  for (const auto& [field, path] : sample.files) {
    auto stream = open_file(path);
    if (!stream) return std::move(stream.error());
    auto content = (*stream)->random_access();
    if (path == sample.video && content->size() == 0) {
      return Error{ErrorCode::kNotMedia, "the file is empty (0 bytes)", {}, {}, {}};
    }
    std::byte first{};
    if (auto readable = content->read_at(0, {&first, 1}); !readable) {
      return std::move(readable.error());
    }
    fields.push_back({field, std::move(content)});
  }
  return fields;
}

struct Packed {
  std::vector<WrittenShard> shards;
  std::uint64_t samples = 0;
  std::uint64_t payload_bytes = 0;
};

Result<Packed> write_shards(const PackOptions& options, FoundFiles& found) {
  auto writer = ShardWriter::create(
      {options.out, options.prefix, options.shard_samples, options.shard_bytes, options.overwrite});
  if (!writer) return std::move(writer.error());
  Packed packed;
  std::unordered_set<std::string> keys;
  for (const FoundSample& sample : found.samples) {
    if (keys.contains(sample.key)) {
      found.refused.push_back({sample.video, fmt::format("its key '{}' is taken", sample.key)});
      continue;
    }
    auto fields = open_sample(sample);
    if (!fields) {
      found.refused.push_back({sample.video, fields.error().message});
      continue;
    }
    if (auto written = writer->write(sample.key, *fields); !written) {
      const ErrorCode code = written.error().code;
      if (code != ErrorCode::kInvalidOption && code != ErrorCode::kDuplicateField) {
        return std::move(written.error());
      }
      found.refused.push_back(
          {sample.video, written.error().message});  // its name; nothing written
      continue;
    }
    keys.insert(sample.key);
    ++packed.samples;
    for (const auto& field : *fields) packed.payload_bytes += field.content->size();
  }
  auto shards = writer->finish();
  if (!shards) return std::move(shards.error());
  packed.shards = std::move(*shards);
  return packed;
}

void print_json(const PackOptions& options, const Packed& packed, const FoundFiles& found,
                double seconds) {
  nlohmann::ordered_json shards = nlohmann::ordered_json::array();
  for (const auto& shard : packed.shards) {
    shards.push_back({{"path", shard.path}, {"samples", shard.samples}, {"bytes", shard.bytes}});
  }
  nlohmann::ordered_json refused = nlohmann::ordered_json::array();
  for (const auto& [path, reason] : found.refused) {
    refused.push_back({{"path", path}, {"reason", reason}});
  }
  const nlohmann::ordered_json report = {
      {"out", options.out}, {"samples", packed.samples}, {"payload_bytes", packed.payload_bytes},
      {"shards", shards},   {"refused", refused},        {"ignored_files", found.ignored},
      {"seconds", seconds}};
  // File names need not be UTF-8; JSON must be.
  fmt::print("{}\n", report.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void print_text(const PackOptions& options, const Packed& packed, const FoundFiles& found,
                double seconds) {
  for (const auto& shard : packed.shards) {
    fmt::print("{}  {} samples, {}\n", shard.path, shard.samples, format_bytes(shard.bytes));
  }
  fmt::print(
      "packed {} samples ({}) into {} shards in '{}' in {:.1f} s; {} refused, {} files that "
      "belong to no video ignored\n",
      packed.samples, format_bytes(packed.payload_bytes), packed.shards.size(), options.out,
      seconds, found.refused.size(), found.ignored);
}

int complain(int status, std::string_view message) {
  fmt::print(stderr, "shardreel pack: {}\n", message);
  return status;
}

}  // namespace

int run_pack(const PackOptions& options) {
  if (options.inputs.empty()) return complain(2, "no files or folders given");
  if (options.out.empty()) return complain(2, "no folder to write to; give --out DIR");
  if (options.prefix.find('/') != std::string::npos) {
    return complain(
        2, fmt::format("the prefix '{}' holds a '/'; name the folder with --out", options.prefix));
  }
  const auto start = std::chrono::steady_clock::now();
  FoundFiles found;
  for (const std::string& input : options.inputs) {
    std::error_code failed;
    const auto status = fs::status(input, failed);
    if (!fs::exists(status)) {
      return complain(
          1, fmt::format("'{}': {}", input, failed ? failed.message() : "no such file or folder"));
    }
    if (fs::is_directory(status)) {
      find_in_tree(input, found);
    } else {
      find_file(input, found);
    }
  }
  auto packed = write_shards(options, found);
  for (const auto& [path, reason] : found.refused) {
    complain(0, fmt::format("refused '{}': {}", path, reason));
  }
  if (!packed) return complain(1, packed.error().describe());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  options.json ? print_json(options, *packed, found, seconds.count())
               : print_text(options, *packed, found, seconds.count());
  if (std::fflush(stdout) != 0) return complain(1, "writing the summary failed");
  if (packed->samples == 0) return complain(1, "no video could be packed");
  return 0;
}

}  // namespace shardreel::tools
