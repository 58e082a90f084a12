// dump_samples: reads paths from standard input, one a line; writes for each one line of JSON with
// what ShardReader gives in compat and in strict:
//   {"compat": {"samples": [[KEY, [[FIELD, SIZE, CRC32], ...]], ...], "errors": [CODE, ...]},
//    "strict": ...}
// KEY and FIELD in hex. A member that claims much is read in pieces and counted without its holes.
#include <zlib.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shardreel/shard_reader.h"

namespace {

using namespace shardreel;
using nlohmann::json;

std::string hex(const std::string& bytes) {
  static const char* const digits = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += digits[(static_cast<unsigned char>(c) >> 4) & 15];
    out += digits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

std::uint32_t crc_of(const Field& field) {
  std::vector<std::byte> piece(
      static_cast<std::size_t>(std::min<std::uint64_t>(field.size, 1 << 20)));
  uLong crc = crc32(0, nullptr, 0);
  for (std::uint64_t at = 0; at < field.size;) {
    const auto got = field.content->read_at(at, piece).value();
    if (got == 0) throw std::runtime_error("a content ends early");
    crc = crc32(crc, reinterpret_cast<const Bytef*>(piece.data()), static_cast<uInt>(got));
    at += got;
  }
  return static_cast<std::uint32_t>(crc);
}

json read_shard(const std::string& path, Integrity integrity) {
  ShardReaderOptions options;
  options.integrity = integrity;
  options.member_inline_bytes = 1 << 20;
  options.max_member_bytes = std::uint64_t{1} << 30;
  json samples = json::array(), errors = json::array();
  auto stream = open_file(path);
  if (!stream) return {{"samples", samples}, {"errors", {to_string(stream.error().code)}}};
  ShardReader reader(std::move(*stream), path, options);
  while (true) {
    ReadStep step = reader.step();
    if (std::holds_alternative<ShardEnd>(step)) break;
    if (const auto* failed = std::get_if<FailedSample>(&step)) {
      errors.push_back(std::string(to_string(failed->error.code)) + ": " + failed->error.message);
      continue;
    }
    const auto& sample = std::get<Sample>(step);
    json fields = json::array();
    for (const Field& field : sample.fields) {
      fields.push_back({hex(field.name), field.size, crc_of(field)});
    }
    samples.push_back({hex(sample.key), fields});
  }
  return {{"samples", samples}, {"errors", errors}};
}

}  // namespace

int main() {
  std::string path;
  while (std::getline(std::cin, path)) {
    const json both = {{"compat", read_shard(path, Integrity::kCompat)},
                       {"strict", read_shard(path, Integrity::kStrict)}};
    std::cout << both.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
  }
}
