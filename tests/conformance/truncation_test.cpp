// Strict reports an archive that is cut, wherever it is cut, and delivers nothing that lacks a
// part.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/conformance/materialise.h"
#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

using nlohmann::json;

struct Case {
  std::string name;
  std::string bytes;
};

/// Archives of all dialects, each with something behind what is special about it.
std::vector<Case> small_archives() {
  const json recipes = json::parse(R"({
    "v7": [{"member": "a.jpg", "content": {"repeat": "x", "times": 700}, "format": "v7"},
           {"member": "a.txt", "content": "t", "format": "v7"}],
    "ustar": [{"member": "b.jpg", "content": {"repeat": "x", "times": 700}, "prefix": "a"},
              {"member": "a.txt"}],
    "gnu": [{"member": "././@LongLink", "type": "L", "format": "gnu",
             "content": [{"repeat": "n", "times": 520}, ".jpg", {"hex": "00"}]},
            {"member": "short", "content": {"repeat": "x", "times": 700}, "format": "gnu"}],
    "pax": [{"pax": [["path", [{"repeat": "p", "times": 600}, ".jpg"]], ["comment", "c"]]},
            {"member": "short.jpg", "content": {"repeat": "x", "times": 700}}],
    "pax_global": [{"pax": [["comment", "all"]], "type": "g"},
                   {"member": "a.jpg", "content": {"repeat": "x", "times": 700}}],
    "sparse_gnu": [{"member": "a.bin", "type": "S", "format": "gnu",
                    "content": {"repeat": "x", "times": 700},
                    "patches": [[386, "00000002000"], [398, "00000001274"], [483, "00000003274"]]}],
    "sparse_pax_0.1": [{"pax": [["GNU.sparse.size", "2000"], ["GNU.sparse.numblocks", "2"],
                                ["GNU.sparse.name", "a.bin"], ["GNU.sparse.map", "0,512,1488,512"]]},
                       {"member": "GNUSparseFile.0/a.bin", "content": {"repeat": "s", "times": 1024}}],
    "sparse_pax_1.0": [{"pax": [["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"],
                                ["GNU.sparse.name", "a.bin"], ["GNU.sparse.realsize", "2000"]]},
                       {"member": "GNUSparseFile.0/a.bin",
                        "content": ["2\n0\n512\n1488\n512\n", {"zeros": 494},
                                    {"repeat": "s", "times": 1024}]}]
  })");
  const std::string behind = materialise({{"member", "b.txt"}, {"content", "t"}});
  std::vector<Case> cases;
  for (const auto& [name, recipe] : recipes.items()) {
    cases.push_back({name, materialise(recipe) + behind + std::string(1024, '\0')});
  }
  return cases;
}

std::string compress(const std::string& program, const std::string& bytes) {
  const ScratchDir scratch;
  write_file(scratch / "in", bytes);
  run_command(fmt::format("{} -c < {} > {}", program, scratch / "in", scratch / "out"));
  return read_file(scratch / "out");
}

/// Whether what was delivered is what the whole archive begins with.
void expect_beginning(const ShardContent& content, const std::vector<SampleText>& whole,
                      const std::string& what) {
  ASSERT_LE(content.samples.size(), whole.size()) << what;
  for (std::size_t i = 0; i < content.samples.size(); ++i) {
    EXPECT_TRUE(content.samples[i] == whole[i]) << what << ": sample " << i;
  }
}

void expect_every_cut_reported(const Case& archive) {
  const auto whole = read_stream(archive.bytes);
  ASSERT_TRUE(whole.failures.empty()) << archive.name << whole.failures[0].error.describe();
  ASSERT_GE(whole.samples.size(), 2U) << archive.name;
  for (std::size_t length = 0; length < archive.bytes.size(); ++length) {
    const std::string what = fmt::format("{} cut at {}", archive.name, length);
    const auto content = read_stream(archive.bytes.substr(0, length));
    ASSERT_EQ(content.failures.size(), 1U) << what;
    EXPECT_TRUE(content.failures[0].fatal) << what;
    // A gzip cut in its checksum can look like an archive with one zero block.
    const bool said =
        content.failures[0].error.code == ErrorCode::kTruncated || archive.name == "gzip";
    EXPECT_TRUE(said) << what << content.failures[0].error.describe();
    expect_beginning(content, whole.samples, what);
  }
}

TEST(Truncation, IsReportedAtEveryByte) {
  for (const Case& archive : small_archives()) expect_every_cut_reported(archive);
}

TEST(Truncation, IsReportedAtEveryByteOfCompressedArchives) {
  std::string plain;
  for (const Case& archive : small_archives()) {
    if (archive.name == "pax" || archive.name == "gnu") {
      plain += archive.bytes.substr(0, archive.bytes.size() - 1024);
    }
  }
  plain += std::string(1024, '\0');
  for (const char* program : {"gzip", "bzip2", "xz", "xz --format=lzma", "zstd -q"}) {
    expect_every_cut_reported({program, compress(program, plain)});
  }
}

// As a file, which is sought where members are passed over, and as a stream.
TEST(Truncation, IsReportedAtEveryBlockOfALargerArchive) {
  std::string bytes;
  for (int i = 0; i < 40; ++i) {
    const std::string key = "folder/" + std::to_string(i);
    if (i % 5 == 0) {
      bytes += materialise({{"pax", json::array({json::array({"path", key + ".mp4"}),
                                                 json::array({"mtime", "1.5"})})}});
    }
    bytes += tar_member(key + ".mp4", std::string(1000 + 700 * static_cast<std::size_t>(i), 'v'));
    bytes += tar_member(key + ".json", "{}");
  }
  bytes += std::string(20 * 512, '\0');
  ASSERT_GT(bytes.size(), 500'000U);
  const std::size_t complete = bytes.size() - 18 * 512;  // two of the zero blocks are enough
  const ScratchDir scratch;
  const std::string path = scratch / "cut.tar";
  write_file(path, bytes);
  const auto whole = read_path(path);
  ASSERT_EQ(whole.samples.size(), 40U);
  for (std::size_t length = bytes.size() - 512; length > 0; length -= 512) {
    std::filesystem::resize_file(path, length);
    for (const std::uint64_t inline_bytes : {std::uint64_t{1} << 20, std::uint64_t{4096}}) {
      ShardReaderOptions options;
      options.member_inline_bytes = inline_bytes;
      const auto content = read_path(path, options);
      const std::string what = fmt::format("cut at {}", length);
      ASSERT_EQ(content.failures.size(), length < complete ? 1U : 0U) << what;
      expect_beginning(content, whole.samples, what);
    }
    if (length % 16384 != 0) continue;
    const auto streamed = read_stream(bytes.substr(0, length));
    ASSERT_EQ(streamed.failures.size(), length < complete ? 1U : 0U) << length;
  }
}

}  // namespace
}  // namespace shardreel::testing
