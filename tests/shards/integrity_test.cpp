// What the reference loses silently, strict reports: every cut, every damaged header, every damaged
// checksum. The archives are built here, so what they hold is known.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "shardreel/shard_reader.h"
#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string small_archive() {
  return tar_member("a.jpg", std::string(600, 'j')) + tar_member("a.txt", "text") +
         tar_member("b.jpg", "jj") + tar_member("b.txt", std::string(512, 't')) + tar_end();
}

std::vector<SampleText> small_samples() {
  return {{"a", {{"jpg", std::string(600, 'j')}, {"txt", "text"}}},
          {"b", {{"jpg", "jj"}, {"txt", std::string(512, 't')}}}};
}

/// Whatever was delivered is whole and in its place.
void expect_no_half_sample(const ShardContent& content, const std::string& what) {
  const auto whole = small_samples();
  for (std::size_t i = 0; i < content.samples.size(); ++i) {
    ASSERT_LT(i, whole.size()) << what;
    EXPECT_EQ(content.samples[i], whole[i]) << what;
  }
}

void expect_one_fatal(const ShardContent& content, const std::string& what) {
  ASSERT_EQ(content.failures.size(), 1U) << what;
  const auto& failed = content.failures[0];
  EXPECT_TRUE(failed.fatal) << what;
  EXPECT_EQ(failed.error.shard, "test.tar") << what;
  EXPECT_TRUE(failed.error.offset.has_value()) << what;
  EXPECT_TRUE(failed.error.code == ErrorCode::kTruncated ||
              failed.error.code == ErrorCode::kCorruptArchive)
      << what << failed.error.describe();
}

std::string gzip(const std::string& bytes) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  std::string in = bytes;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string compress(const std::string& program, const std::string& bytes) {
  const ScratchDir scratch;
  write_file(scratch / "in", bytes);
  run_command(fmt::format("{} -c < {} > {}", program, scratch / "in", scratch / "out"));
  return read_file(scratch / "out");
}

TEST(Integrity, ReportsACutAtEveryByte) {
  const std::string bytes = small_archive();
  ASSERT_EQ(read_stream(bytes).samples, small_samples());
  const ScratchDir scratch;
  for (std::size_t length = 1; length < bytes.size(); ++length) {
    const std::string what = fmt::format("cut at {}", length);
    const std::string cut = bytes.substr(0, length);
    const auto content = read_stream(cut);
    expect_one_fatal(content, what);
    expect_no_half_sample(content, what);
    EXPECT_LT(content.samples.size(), 2U) << what;
    if (length % 64 != 0) continue;
    write_file(scratch / "cut.tar", cut);
    ShardReaderOptions options;
    options.member_inline_bytes = 100;  // the content is not looked at, its end is
    const auto file = read_path(scratch / "cut.tar", options);
    EXPECT_EQ(file.failures.size(), 1U) << what;
    EXPECT_EQ(file.samples, content.samples) << what;
  }
}

TEST(Integrity, ReportsAFlippedBitInEveryHeaderByte) {
  const std::string bytes = small_archive();
  const std::vector<std::size_t> headers{0, 1536, 2560, 3584};
  std::uint64_t reported = 0, harmless = 0;
  for (const std::size_t header : headers) {
    for (std::size_t i = header; i < header + 512; ++i) {
      for (const int bit : {0, 3, 7}) {
        std::string damaged = bytes;
        damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
        const auto content = read_stream(damaged);
        const std::string what = fmt::format("byte {} bit {}", i, bit);
        expect_no_half_sample(content, what);
        if (content.failures.empty()) {
          // Only in the field of the checksum itself, whose end is not part of its number.
          EXPECT_TRUE(i >= header + 148 && i < header + 156) << what;
          EXPECT_EQ(content.samples, small_samples()) << what;
          ++harmless;
        } else {
          expect_one_fatal(content, what);
          ++reported;
        }
      }
    }
  }
  EXPECT_GT(reported, 50 * harmless);
}

TEST(Integrity, ReportsWhatStandsBehindTheEnd) {
  const std::string bytes = small_archive();
  for (std::size_t i = bytes.size() - 1024; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = 'x';
    EXPECT_EQ(read_stream(damaged).failures.size(), 1U) << i;
  }
  const auto joined = read_stream(bytes + bytes);
  expect_one_fatal(joined, "joined");
  EXPECT_EQ(joined.samples, small_samples());  // two zero blocks: these are whole
  const auto padded = read_stream(bytes + std::string(3'000'000, '\0'));
  EXPECT_THAT(padded.failures, IsEmpty());
  const auto far = read_stream(bytes + std::string(3'000'000, '\0') + "x");
  expect_one_fatal(far, "far behind");
}

TEST(Integrity, ReportsASingleZeroBlock) {
  const std::string bytes = small_archive();
  const std::string first = bytes.substr(0, 2560);
  // A header overwritten with zeros looks like an end; the sample before it may lack members.
  const auto hole = read_stream(first + std::string(512, '\0') + bytes.substr(2560));
  expect_one_fatal(hole, "hole");
  EXPECT_THAT(hole.samples, IsEmpty());
  EXPECT_EQ(hole.failures[0].error.key, "a");
  const auto one = read_stream(first + std::string(512, '\0'));
  expect_one_fatal(one, "one block");
  EXPECT_EQ(one.failures[0].error.offset, 2560U);
}

TEST(Integrity, CompatIsSilentWhereTheReferenceIs) {
  const std::string bytes = small_archive();
  for (const std::size_t cut : {std::size_t{2560}, std::size_t{2600}, std::size_t{3584}}) {
    const auto content = read_stream(bytes.substr(0, cut), compat());
    EXPECT_THAT(content.failures, IsEmpty()) << cut;
    EXPECT_FALSE(content.samples.empty());
  }
  const auto half = read_stream(bytes.substr(0, 1536), compat());
  EXPECT_THAT(half.samples, ElementsAre(SampleText{"a", {{"jpg", std::string(600, 'j')}}}));
  std::string flipped = bytes;
  flipped[1536] = 'X';
  EXPECT_EQ(read_stream(flipped, compat()).samples.size(), 1U);
  EXPECT_THAT(read_stream(flipped, compat()).failures, IsEmpty());
  EXPECT_THAT(read_stream(bytes + bytes, compat()).failures, IsEmpty());
  // The cut within content is an error there as well; the partial sample comes before it.
  const auto content = read_stream(bytes.substr(0, 4200), compat());
  ASSERT_EQ(content.failures.size(), 1U);
  ASSERT_EQ(content.samples.size(), 2U);
  EXPECT_EQ(content.samples[1], (SampleText{"b", {{"jpg", "jj"}}}));
}

TEST(Integrity, VerifiesGzip) {
  const std::string tar = small_archive();
  const std::string bytes = gzip(tar);
  EXPECT_EQ(read_stream(bytes).samples, small_samples());
  EXPECT_THAT(read_stream(bytes).failures, IsEmpty());
  for (std::size_t length = 3; length < bytes.size(); ++length) {
    const auto content = read_stream(bytes.substr(0, length));
    ASSERT_EQ(content.failures.size(), 1U) << length;
    EXPECT_TRUE(content.failures[0].fatal);
    expect_no_half_sample(content, std::to_string(length));
    EXPECT_LT(content.samples.size(), 2U) << length;
  }
  std::uint64_t silent = 0;
  for (std::size_t i = 10; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 16);
    const auto content = read_stream(damaged);
    if (content.failures.empty()) {
      // A run of one letter can be copied from more than one place: the same data in other words.
      EXPECT_EQ(content.samples, small_samples()) << i;
      ++silent;
    }
  }
  EXPECT_LE(silent, 5U);
  EXPECT_THAT(read_stream(bytes + std::string(1000, '\0')).failures, IsEmpty());
  EXPECT_EQ(read_stream(bytes + "x").failures.size(), 1U);

  // Several members are one stream; the reference stops behind the first.
  const std::string split = gzip(tar.substr(0, 2000)) + gzip(tar.substr(2000));
  EXPECT_EQ(read_stream(split).samples, small_samples());
  EXPECT_THAT(read_stream(split).failures, IsEmpty());
  const auto first = read_stream(gzip(tar.substr(0, 2560)) + gzip(tar.substr(2560)), compat());
  EXPECT_EQ(first.samples.size(), 1U);
  std::string wrong_crc = bytes;
  wrong_crc[wrong_crc.size() - 6] = static_cast<char>(wrong_crc[wrong_crc.size() - 6] ^ 1);
  EXPECT_EQ(read_stream(wrong_crc, compat()).samples, small_samples());
  EXPECT_THAT(read_stream(wrong_crc, compat()).failures, IsEmpty());
}

TEST(Integrity, VerifiesTheOtherCompressions) {
  for (const std::string program : {"bzip2", "xz", "zstd -q --check", "xz --format=lzma"}) {
    const std::string bytes = compress(program, small_archive());
    const auto whole = read_stream(bytes);
    EXPECT_EQ(whole.samples, small_samples()) << program;
    EXPECT_THAT(whole.failures, IsEmpty()) << program << whole.failures[0].error.describe();
    for (std::size_t length = 11; length < bytes.size(); length += 3) {
      const auto content = read_stream(bytes.substr(0, length));
      EXPECT_EQ(content.failures.size(), 1U) << program << " " << length;
      expect_no_half_sample(content, program);
      EXPECT_LT(content.samples.size(), 2U) << program << " " << length;
    }
    EXPECT_EQ(read_stream(bytes + "garbage!").failures.size(), 1U) << program;
    if (program.ends_with("lzma")) continue;  // has no checksum
    std::uint64_t silent = 0;
    for (std::size_t i = 11; i < bytes.size(); ++i) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ 4);
      const auto content = read_stream(damaged);
      if (content.failures.empty()) {
        EXPECT_EQ(content.samples, small_samples()) << program << " " << i;
        ++silent;
      }
    }
    EXPECT_LE(silent, 8U) << program << ": bits that nothing depends on";
  }
}

TEST(Integrity, NamesShardKeyAndOffset) {
  const auto content = read_stream(small_archive().substr(0, 4200));
  ASSERT_EQ(content.failures.size(), 1U);
  EXPECT_EQ(content.failures[0].error.describe(),
            "shard test.tar, key b at byte 3584: the archive is cut at byte 4200; expected the "
            "member's content of 512 bytes");
  EXPECT_EQ(content.failures[0].ordinal, 1U);
}

TEST(Integrity, SaysSoWhenPaxHeadersAreDamaged) {
  std::string records = "19 path=damaged.txt\n";
  const auto archive = [&records] {
    return tar_member("././@PaxHeader", records, 'x') + tar_member("a.txt", "1") + tar_end();
  };
  EXPECT_THAT(read_stream(archive()).failures, ::testing::SizeIs(1));  // the length is 20
  records = "20 path=damaged.txt\n";
  EXPECT_THAT(read_stream(archive()).samples, ElementsAre(SampleText{"damaged", {{"txt", "1"}}}));
}

}  // namespace
}  // namespace shardreel::testing
