#include "shardreel/shard_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <map>

#include "shardreel/units.h"
#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string archive_of(const std::vector<FieldText>& members) {
  std::string bytes;
  for (const auto& [name, content] : members) bytes += tar_member(name, content);
  return bytes + tar_end();
}

std::vector<std::string> keys(const ShardContent& content) {
  std::vector<std::string> all;
  for (const auto& sample : content.samples) all.push_back(sample.key);
  return all;
}

TEST(ShardReader, GroupsConsecutiveMembersOfOneKey) {
  const auto content = read_stream(archive_of({{"a.jpg", "1"},
                                               {"a.TXT", "2"},
                                               {"noext", "ignored"},
                                               {"a.cls", ""},
                                               {"b.jpg", "3"},
                                               {"a.jpg", "4"},
                                               {"__meta__", "x"},
                                               {"__x__/c.jpg", "x"},
                                               {"x/a.jpg", "5"},
                                               {"y/a.jpg", "6"}}));
  EXPECT_THAT(content.samples,
              ElementsAre(SampleText{"a", {{"jpg", "1"}, {"txt", "2"}, {"cls", ""}}},
                          SampleText{"b", {{"jpg", "3"}}}, SampleText{"a", {{"jpg", "4"}}},
                          SampleText{"x/a", {{"jpg", "5"}}}, SampleText{"y/a", {{"jpg", "6"}}}));
  EXPECT_THAT(content.failures, IsEmpty());
  EXPECT_EQ(content.raw[0].offset, 0U);
  EXPECT_EQ(content.raw[0].fields[1].offset, 1024U);
  EXPECT_EQ(content.raw[0].shard, "test.tar");
  EXPECT_EQ(content.raw[1].offset, 7U * 512);
}

TEST(ShardReader, SkipsWhatIsNoRegularFile) {
  std::string bytes;
  for (const char type : std::string("123456AVXZ8")) {
    const bool has_content = type == 'Z' || type == '8';
    if (std::string("AVX").find(type) != std::string::npos) continue;
    bytes += tar_member(std::string("k.") + type, has_content ? "content" : "", type);
  }
  bytes += tar_member("k.reg", "r", '0') + tar_member("k.cont", "c", '7') +
           tar_member("k.old", "o", '\0') + tar_end();
  const auto content = read_stream(bytes);
  EXPECT_THAT(content.samples,
              ElementsAre(SampleText{"k", {{"reg", "r"}, {"cont", "c"}, {"old", "o"}}}));
}

TEST(ShardReader, DropsSamplesMarkedBad) {
  for (const auto& options : {ShardReaderOptions{}, compat()}) {
    const auto content = read_stream(archive_of({{"a.jpg", "1"},
                                                 {"a.__bad__", "x"},
                                                 {"a.txt", "2"},
                                                 {"b.__bad__", ""},
                                                 {"b.txt", "3"}}),
                                     options);
    EXPECT_THAT(content.samples, ElementsAre(SampleText{"b", {{"__bad__", ""}, {"txt", "3"}}}));
    EXPECT_THAT(content.failures, IsEmpty());
  }
}

TEST(ShardReader, ReportsDuplicatesUnderStrictAndKeepsTheFirstUnderCompat) {
  const std::string bytes = archive_of({{"a.jpg", "1"},
                                        {"a.JPG", "2"},
                                        {"a.txt", "3"},
                                        {"b.x", "4"},
                                        {"b.__key__", "5"},
                                        {"c.__local_path__", "6"},
                                        {"c.x", "7"}});
  const auto strict = read_stream(bytes);
  EXPECT_THAT(strict.samples, IsEmpty());
  ASSERT_EQ(strict.failures.size(), 3U);
  EXPECT_EQ(strict.failures[0].error.code, ErrorCode::kDuplicateField);
  EXPECT_EQ(strict.failures[0].error.key, "a");
  EXPECT_EQ(strict.failures[0].error.offset, 1024U);
  EXPECT_FALSE(strict.failures[0].fatal);
  const auto lenient = read_stream(bytes, compat());
  EXPECT_THAT(lenient.samples,
              ElementsAre(SampleText{"a", {{"jpg", "1"}, {"txt", "3"}}},
                          SampleText{"b", {{"x", "4"}}}, SampleText{"c", {{"x", "7"}}}));
  EXPECT_THAT(lenient.failures, IsEmpty());
}

TEST(ShardReader, GivesTheSamplesOfARank) {
  const std::string bytes = archive_of({{"a.x", "1"},
                                        {"b.x", "1"},
                                        {"b.X", "1"},
                                        {"c.__bad__", "1"},
                                        {"d.x", "1"},
                                        {"e.x", std::string(101, 'x')},
                                        {"e.__bad__", "1"},
                                        {"f.x", "1"}});
  std::map<std::uint64_t, std::string> found;
  for (std::uint64_t rank = 0; rank < 3; ++rank) {
    ShardReaderOptions options;
    options.max_member_bytes = 100;
    options.modulo = 3;
    options.remainder = rank;
    const auto content = read_stream(bytes, options);
    for (const auto& sample : content.raw) found[sample.ordinal] += sample.key;
    for (const auto& failed : content.failures) found[failed.ordinal] += "!" + failed.error.key;
    for (const auto& sample : content.raw) EXPECT_EQ(sample.ordinal % 3, rank);
  }
  const std::map<std::uint64_t, std::string> expected{
      {0, "a"}, {1, "!b"}, {3, "d"}, {4, "!e"}, {5, "f"}};
  EXPECT_EQ(found, expected);
}

TEST(ShardReader, GoesOnBehindARefusedSample) {
  class Never final : public ByteAllocator {
   public:
    std::optional<OwnedBytes> try_allocate(std::size_t bytes) override {
      if (bytes > 100) return std::nullopt;
      return heap_allocator().try_allocate(bytes);
    }
  } allocator;
  ShardReaderOptions options;
  options.allocator = &allocator;
  ShardReader reader(
      pipe_stream(archive_of(
          {{"a.txt", "1"}, {"a.jpg", std::string(101, 'a')}, {"a.cls", "1"}, {"b.jpg", "2"}})),
      "test.tar", options);
  EXPECT_EQ(std::get<NeedsMemory>(reader.step()).bytes, 101U);
  EXPECT_EQ(std::get<NeedsMemory>(reader.step()).bytes, 101U);
  reader.refuse(Error{ErrorCode::kMemory, "larger than its share", {}, {}, {}});
  const auto failed = std::get<FailedSample>(reader.step());
  EXPECT_EQ(failed.error.key, "a");
  EXPECT_FALSE(failed.fatal);
  const auto rest = read_all(reader);
  EXPECT_THAT(keys(rest), ElementsAre("b"));
  EXPECT_THAT(rest.failures, IsEmpty());
}

TEST(ShardReader, ContinuesWhereMemoryWasRefused) {
  const std::string bytes = archive_of({{"a.jpg", std::string(3'000'000, 'a')},
                                        {"a.txt", "2"},
                                        {"b.jpg", std::string(700, 'b')},
                                        {"b.cls", ""}});
  const auto unlimited = read_stream(bytes);
  ASSERT_EQ(unlimited.samples.size(), 2U);
  RefusingAllocator allocator;
  ShardReaderOptions options;
  options.allocator = &allocator;
  const auto refused = read_stream(bytes, options);
  EXPECT_EQ(refused.samples, unlimited.samples);
  EXPECT_EQ(refused.memory_refusals, 3U);
  EXPECT_TRUE(refused.raw[0].fields[0].in_memory);
}

TEST(ShardReader, TakesLargeMembersOfAFileAsRanges) {
  const ScratchDir scratch;
  const std::string large(5'000'000, 'v');
  write_file(scratch / "s.tar", archive_of({{"a.txt", "t"}, {"a.mp4", large}, {"b.txt", "u"}}));
  RefusingAllocator allocator;
  ShardReaderOptions options;
  options.allocator = &allocator;
  options.member_inline_bytes = 1000;
  options.spool_dir = scratch / "none";  // not needed
  const auto content = read_path(scratch / "s.tar", options);
  EXPECT_THAT(content.failures, IsEmpty());
  EXPECT_THAT(content.samples, ElementsAre(SampleText{"a", {{"txt", "t"}, {"mp4", large}}},
                                           SampleText{"b", {{"txt", "u"}}}));
  EXPECT_EQ(allocator.largest, 1U);
  EXPECT_FALSE(content.raw[0].fields[1].in_memory);
}

TEST(ShardReader, SpoolsLargeMembersOfAStream) {
  const ScratchDir scratch;
  const std::string large(5'000'000, 'v');
  const std::string bytes = archive_of({{"a.mp4", large}, {"b.txt", "u"}});
  ShardReaderOptions options;
  options.member_inline_bytes = 1000;
  options.spool_dir = scratch.path();
  const auto content = read_stream(bytes, options);
  EXPECT_THAT(content.samples,
              ElementsAre(SampleText{"a", {{"mp4", large}}}, SampleText{"b", {{"txt", "u"}}}));
  EXPECT_FALSE(content.raw[0].fields[0].in_memory);

  options.spool_dir = scratch / "none";
  const auto refused = read_stream(bytes, options);
  EXPECT_THAT(keys(refused), ElementsAre("b"));
  ASSERT_EQ(refused.failures.size(), 1U);
  EXPECT_EQ(refused.failures[0].error.key, "a");
  EXPECT_FALSE(refused.failures[0].fatal);
}

TEST(ShardReader, FailsTheSampleThatDoesNotFitTheDisk) {
  const ScratchDir scratch;
  ShardReaderOptions options;
  options.member_inline_bytes = 1000;
  options.spool_dir = scratch.path();
  // A limit on file size stands in for a full disk: the same path, another errno.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{100'000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight);
  const auto content =
      read_stream(archive_of({{"a.mp4", std::string(200'000, 'v')}, {"b.txt", "u"}}), options);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(keys(content), ElementsAre("b"));
  ASSERT_EQ(content.failures.size(), 1U);
  EXPECT_EQ(content.failures[0].error.code, ErrorCode::kIo);
  EXPECT_EQ(content.failures[0].error.key, "a");
}

TEST(ShardReader, BoundsWhatMembersMayClaim) {
  ShardReaderOptions options;
  options.max_member_bytes = 100;
  const auto bounded = read_stream(
      archive_of({{"a.x", std::string(101, 'x')}, {"a.y", "1"}, {"b.x", std::string(100, 'x')}}),
      options);
  EXPECT_THAT(keys(bounded), ElementsAre("b"));
  ASSERT_EQ(bounded.failures.size(), 1U);
  EXPECT_EQ(bounded.failures[0].error.code, ErrorCode::kTooLarge);

  ShardReaderOptions narrow;
  narrow.member_inline_bytes = 100;
  narrow.large_fields = {"mp4"};
  const auto in_memory = read_stream(
      archive_of({{"a.mp4", std::string(200, 'v')}, {"b.json", std::string(200, 'j')}}), narrow);
  EXPECT_THAT(keys(in_memory), ElementsAre("a"));
  ASSERT_EQ(in_memory.failures.size(), 1U);
  EXPECT_EQ(in_memory.failures[0].error.code, ErrorCode::kMemory);
  EXPECT_EQ(in_memory.failures[0].error.key, "b");
}

TEST(ShardReader, RefusesAClaimOfMoreThanTheFileHolds) {
  const ScratchDir scratch;
  const std::string bytes = tar_header("a.mp4", 12'600'000'000) + std::string(9728, 'x');
  write_file(scratch / "s.tar", bytes);
  RefusingAllocator allocator;
  ShardReaderOptions options;
  options.allocator = &allocator;
  options.member_inline_bytes = 64_GiB;
  const auto file = read_path(scratch / "s.tar", options);
  ASSERT_EQ(file.failures.size(), 1U);
  EXPECT_TRUE(file.failures[0].fatal);
  EXPECT_EQ(file.failures[0].error.code, ErrorCode::kTruncated);
  EXPECT_EQ(file.failures[0].error.key, "a");
  EXPECT_EQ(allocator.largest, 0U);
  options.member_inline_bytes = 64_MiB;
  const auto stream = read_stream(bytes, options);
  ASSERT_EQ(stream.failures.size(), 1U);
  EXPECT_EQ(stream.failures[0].error.code, ErrorCode::kTruncated);
}

TEST(ShardReader, KnowsEmptyArchivesFromEmptyFiles) {
  for (const auto& options : {ShardReaderOptions{}, compat()}) {
    const auto none = read_stream(tar_end(), options);
    EXPECT_THAT(none.samples, IsEmpty());
    EXPECT_THAT(none.failures, IsEmpty());
    const auto empty = read_stream("", options);
    ASSERT_EQ(empty.failures.size(), 1U);
    EXPECT_TRUE(empty.failures[0].fatal);
    EXPECT_EQ(empty.failures[0].error.code, ErrorCode::kTruncated);
    EXPECT_THAT(empty.failures[0].error.describe(), HasSubstr("test.tar"));
    for (const char* bytes : {"this is no archive", "x", "BZh", "\x1f\x8b\x08",
                              "\xfd"
                              "7zXZ"}) {
      const auto text = read_stream(bytes, options);
      ASSERT_EQ(text.failures.size(), 1U) << bytes;
      EXPECT_TRUE(text.failures[0].fatal);
    }
  }
}

TEST(ShardReader, TakesPiecesOfAnySize) {
  std::string bytes;
  for (int i = 0; i < 50; ++i) {
    bytes += tar_member("k" + std::to_string(i) + ".x",
                        std::string(static_cast<std::size_t>(i * 97), 'x'));
  }
  bytes += tar_end();
  const auto whole = read_stream(bytes);
  ASSERT_EQ(whole.samples.size(), 50U);
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{7}, std::size_t{511}, std::size_t{513}}) {
    ShardReader reader(pipe_stream(bytes, piece), "test.tar", {});
    const auto content = read_all(reader);
    EXPECT_EQ(content.samples, whole.samples);
    EXPECT_THAT(content.failures, IsEmpty());
    EXPECT_EQ(reader.position(), bytes.size());
  }
}

/// Gives some bytes, and then an error where their end would be.
class FailingStream final : public ByteStream {
 public:
  explicit FailingStream(std::string bytes) : data_(pipe_stream(std::move(bytes))) {}

  Result<std::size_t> read(std::span<std::byte> into) override {
    auto got = data_->read(into);
    if (*got > 0) return got;
    return Error{ErrorCode::kPipeFailed, "the command ended with 7", {}, {}, {}};
  }

 private:
  std::unique_ptr<ByteStream> data_;
};

TEST(ShardReader, ReportsTheErrorOfItsStream) {
  ShardReader reader(
      std::make_unique<FailingStream>(tar_member("a.x", "1") + tar_member("b.x", "2")), "pipe:x",
      {});
  const auto content = read_all(reader);
  EXPECT_THAT(keys(content), ElementsAre("a"));
  ASSERT_EQ(content.failures.size(), 1U);
  EXPECT_EQ(content.failures[0].error.code, ErrorCode::kPipeFailed);
  EXPECT_EQ(content.failures[0].error.key, "b");
  EXPECT_EQ(content.failures[0].error.shard, "pipe:x");
  EXPECT_TRUE(content.failures[0].fatal);
}

// libarchive takes what cannot be read behind the first zero block for the end of the archive.
TEST(ShardReader, ReportsTheErrorOfItsStreamWhereverItComes) {
  const std::string whole =
      tar_member("a.x", "1") + tar_member("b.x", std::string(700, '2')) + tar_end();
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    SCOPED_TRACE(size);
    ShardReader reader(std::make_unique<FailingStream>(whole.substr(0, size)), "pipe:x", {});
    const auto content = read_all(reader);
    ASSERT_EQ(content.failures.size(), 1U);
    EXPECT_EQ(content.failures[0].error.code, ErrorCode::kPipeFailed)
        << content.failures[0].error.message;
    EXPECT_TRUE(content.failures[0].fatal);
  }
}

}  // namespace
}  // namespace shardreel::testing
