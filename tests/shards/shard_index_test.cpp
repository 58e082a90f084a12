// Indexes: what is written is read back, whatever it is; whatever is wrong with a file is noticed.
#include "shardreel/shard_index.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <random>
#include <thread>

#include "tests/shards/index_testing.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

using ::testing::AllOf;
using testing::bytes_of;
using ::testing::HasSubstr;
using testing::identical;
using testing::IndexedShard;
using testing::plain_sample;
using testing::plain_shard;
using testing::random_shard;
using testing::resealed;
using testing::rounds;
using testing::ScratchDir;
using testing::test_seed;
using testing::write_index;

Result<ShardIndex> load(const std::string& bytes) {
  return ShardIndex::load(bytes_of(bytes), "a.tar.sridx");
}

/// Whether reading all of the index finds nothing wrong.
bool is_good(const std::string& bytes) {
  const auto index = load(bytes);
  if (!index) return false;
  for (std::uint64_t i = 0; i < index->count(); ++i) {
    if (index->sample(i).video && !index->read_video(i)) return false;
  }
  return true;
}

TEST(ShardIndexTest, WhatIsWrittenIsReadBack) {
  std::mt19937_64 random(test_seed());
  for (std::uint64_t round = 0; round < rounds(4000); ++round) {
    const IndexedShard shard = random_shard(random, random() % 12);
    const std::string bytes = write_index(shard);
    EXPECT_EQ(bytes, write_index(shard));
    const auto index = load(bytes).value();
    ASSERT_EQ(index.count(), shard.samples.size());
    EXPECT_EQ(index.shard(), shard.identity);
    EXPECT_EQ(index.seekable(), shard.seekable);
    EXPECT_EQ(index.video_fields(), shard.video_fields);
    for (std::uint64_t i = 0; i < index.count(); ++i) {
      ASSERT_EQ(identical(index, i, shard.samples[i]), "") << "sample " << i << ", round " << round;
      EXPECT_EQ(index.find_ordinal(shard.samples[i].sample.ordinal), i);
      const auto found = index.find(shard.samples[i].sample.key);
      ASSERT_TRUE(found);  // the first one with this key
      EXPECT_LE(*found, i);
      EXPECT_EQ(shard.samples[*found].sample.key, shard.samples[i].sample.key);
    }
    EXPECT_FALSE(index.find("a key of thirteen"));
  }
}

TEST(ShardIndexTest, TotalsAreSums) {
  IndexedShard shard = plain_shard(5, 30, 10);
  shard.samples[2].sample.video = false;
  shard.samples[2].sample.failure = Error{ErrorCode::kNotMedia, "no", {}, {}, {}};
  const auto totals = load(write_index(shard)).value().totals();
  EXPECT_EQ(totals.samples, 5U);
  EXPECT_EQ(totals.videos, 4U);
  EXPECT_EQ(totals.failures, 1U);
  EXPECT_EQ(totals.frames, 120U);
  EXPECT_EQ(totals.packets, 120U);
  EXPECT_EQ(totals.keyframes, 12U);
  EXPECT_DOUBLE_EQ(totals.seconds, 4);
}

TEST(ShardIndexTest, EveryFlippedBitIsNoticed) {
  const std::string good = write_index(plain_shard(3, 20, 10));
  ASSERT_TRUE(is_good(good));
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      EXPECT_FALSE(is_good(bad)) << "bit " << bit << " of byte " << at << " of " << good.size();
    }
  }
}

TEST(ShardIndexTest, EveryCutIsNoticed) {
  const std::string good = write_index(plain_shard(3, 20, 10));
  for (std::size_t size = 0; size < good.size(); ++size) {
    const auto index = load(good.substr(0, size));
    ASSERT_FALSE(index) << size;
    EXPECT_THAT(index.error().message, HasSubstr("a.tar.sridx"));
  }
  EXPECT_FALSE(load(good + '\0'));
}

TEST(ShardIndexTest, AnotherVersionIsRefusedByName) {
  std::string bytes = write_index(plain_shard(1, 2, 1));
  bytes[8] = 7;
  const auto index = load(resealed(bytes));
  ASSERT_FALSE(index);
  EXPECT_EQ(index.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(index.error().message,
              AllOf(HasSubstr("a.tar.sridx"), HasSubstr("version 7"), HasSubstr("version 2")));
}

TEST(ShardIndexTest, DamageWithRightChecksumsDoesNoHarm) {
  std::mt19937_64 random(test_seed());
  std::uint64_t loaded = 0, refused = 0;
  for (std::uint64_t round = 0; round < rounds(40000); ++round) {
    std::string bytes = write_index(random_shard(random, 1 + random() % 3));
    for (std::uint64_t n = 1 + random() % 4; n > 0; --n) {
      bytes[72 + random() % (bytes.size() - 72)] = static_cast<char>(random());
    }
    const auto index = load(resealed(std::move(bytes)));
    index ? ++loaded : ++refused;
    for (std::uint64_t i = 0; index && i < index->count(); ++i) {
      const auto sample = index->sample(i);
      for (const auto& field : sample.fields) {
        // A reader may seek there without a look at the shard's size.
        if (index->seekable() && field.contiguous) {
          ASSERT_LE(field.content_offset, index->shard().bytes);
          ASSERT_LE(field.size, index->shard().bytes - field.content_offset);
        }
      }
      if (sample.video) (void)index->read_video(i);
    }
  }
  EXPECT_GT(loaded, 0U);
  EXPECT_GT(refused, 0U);
}

TEST(ShardIndexTest, CountsBeyondTheFileAreRefusedBeforeAnythingIsAllocated) {
  const std::string good = write_index(plain_shard(2, 2, 1));
  for (const std::size_t at : {std::size_t{32}, std::size_t{40}, std::size_t{56}}) {
    std::string bad = good;
    bad[at + 6] = 0x10;  // about 2^52 samples, bytes of directory, bytes of blocks
    EXPECT_FALSE(load(resealed(bad)));
  }
}

TEST(ShardIndexTest, FactsThatMakeNoSenseAreRefusedWithoutATrace) {
  const IndexedShard shard = plain_shard(1, 4, 2);
  const auto& row = shard.samples[0];
  ShardIndexWriter writer(shard.identity, true, {});
  VideoRecord bad = row.video;
  bad.duration_seconds = -1;
  const auto added = writer.add(row.sample, &bad, row.packets);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ErrorCode::kUnsupported);
  writer.add(row.sample, &row.video, row.packets).value();
  EXPECT_FALSE(writer.add(row.sample, &row.video, row.packets)) << "the same ordinal again";
  EXPECT_EQ(load(writer.finish()).value().count(), 1U);
}

TEST(ShardIndexTest, AStaleIndexNamesBothFilesAndWhatDiffers) {
  const ScratchDir dir;
  std::mt19937_64 random(3);
  std::string shard(1 << 20, '\0');
  for (char& c : shard) c = static_cast<char>(random());
  const auto identity = identify_shard(*bytes_of(shard)).value();
  const auto index = load(ShardIndexWriter(identity, true, {}).finish()).value();
  EXPECT_TRUE(index.check_fresh(*bytes_of(shard), "b.tar"));

  const auto longer = index.check_fresh(*bytes_of(shard + "x"), "b.tar");
  ASSERT_FALSE(longer);
  EXPECT_THAT(longer.error().message, AllOf(HasSubstr("'a.tar.sridx'"), HasSubstr("'b.tar'"),
                                            HasSubstr("1048577"), HasSubstr("1048576")));
  for (const std::size_t at : {std::size_t{0}, std::size_t{4095}, shard.size() - 1}) {
    std::string changed = shard;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    const auto stale = index.check_fresh(*bytes_of(changed), "b.tar");
    ASSERT_FALSE(stale) << at;
    EXPECT_THAT(stale.error().message, HasSubstr("fingerprint"));
  }
  // The same bytes in another order: what packing again with another shuffle gives.
  std::rotate(shard.begin(), shard.begin() + 512, shard.end());
  EXPECT_FALSE(index.check_fresh(*bytes_of(shard), "b.tar"));
}

TEST(ShardIndexTest, EveryByteOfASmallShardCounts) {
  std::string shard(3000, 'a');
  const auto identity = identify_shard(*bytes_of(shard)).value();
  for (char& c : shard) {
    c = 'b';
    EXPECT_NE(identify_shard(*bytes_of(shard)).value(), identity);
    c = 'a';
  }
  EXPECT_NE(identify_shard(*bytes_of(std::string(3001, 'a'))).value(), identity);
  EXPECT_TRUE(identify_shard(*bytes_of("")));
}

TEST(ShardIndexTest, FilesAreReplacedWhole) {
  const ScratchDir dir;
  const std::string path = dir / "deep/er/a.tar.sridx";
  write_index_file(path, "before").value();
  write_index_file(path, write_index(plain_shard(2, 40, 10))).value();
  const auto index = ShardIndex::load(path).value();
  const auto again = index;  // copies share it
  EXPECT_EQ(again.read_video(1).value().packets.size(), 40U);

  // The file is opened for each video: another one in its place is noticed, a missing one named.
  write_index_file(path, write_index(plain_shard(2, 41, 10))).value();
  EXPECT_EQ(index.read_video(1).error().code, ErrorCode::kCorruptArchive);
  std::filesystem::remove(path);
  EXPECT_EQ(index.read_video(1).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(ShardIndex::load(path).error().code, ErrorCode::kNotFound);

  std::filesystem::create_directories(path);  // in the way
  EXPECT_FALSE(write_index_file(path, "x"));
  std::size_t left = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "deep/er")) {
    left += entry.path().filename() != "a.tar.sridx";
  }
  EXPECT_EQ(left, 0U) << "a temporary file stayed";
}

TEST(ShardIndexTest, ThreadsShareAnIndex) {
  const IndexedShard shard = plain_shard(40, 30, 10);
  const auto index = load(write_index(shard)).value();
  std::vector<std::string> complaints(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < complaints.size(); ++t) {
      threads.emplace_back([&, t] {
        for (std::uint64_t i = 0; i < index.count(); ++i) {
          complaints[t] += identical(index, i, shard.samples[i]);
          if (index.find(shard.samples[i].sample.key) != i) complaints[t] += "find";
        }
      });
    }
  }
  for (const auto& complaint : complaints) EXPECT_EQ(complaint, "");
}

TEST(ShardIndexTest, WhereIndexesLie) {
  const auto path = [](std::string_view shard, std::string_view dir = {}) {
    return shard_index_path(shard, dir).value_or("none");
  };
  EXPECT_EQ(path("data/a.tar"), "data/a.tar.sridx");
  EXPECT_EQ(path("file:/data/a.tar"), "/data/a.tar.sridx");
  EXPECT_EQ(path("file:///data/a.tar"), "/data/a.tar.sridx");
  EXPECT_EQ(path("/data/./x/../a.tar", "/index"), "/index/data/a.tar.sridx");
  EXPECT_EQ(path("file:/data/a.tar", "/index"), "/index/data/a.tar.sridx");
  EXPECT_EQ(path("a.tar", "/index"),
            "/index" + std::filesystem::current_path().string() + "/a.tar.sridx");
  EXPECT_EQ(path("https://host:8/d/a.tar?v=1&x", "/index"),
            "/index/https%3A//host%3A8/d/a.tar%3Fv=1%26x.sridx");
  EXPECT_EQ(path("https://host/../../etc", "/index"), "/index/https%3A//host/%2E./%2E./etc.sridx");
  for (const char* none : {"", "-", "pipe:cat a.tar", "https://host/a.tar"}) {
    EXPECT_EQ(path(none), "none") << none;
  }
  EXPECT_EQ(path("pipe:cat a.tar", "/index"), "none");
}

std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

/// Loads the index of as many videos and prints what it took.
void measure(std::size_t videos, int frames) {
  using Clock = std::chrono::steady_clock;
  const ScratchDir dir;
  std::uint64_t bytes = 0, offset = 0;
  {
    std::mt19937_64 random(1);
    ShardIndexWriter writer({std::uint64_t{1} << 50, 1}, true, {"mp4"});
    for (std::size_t i = 0; i < videos; ++i) {
      const auto row = plain_sample(i, offset, frames, 30, random);
      offset = row.sample.end_offset;
      writer.add(row.sample, &row.video, row.packets).value();
    }
    const std::string file = writer.finish();
    bytes = file.size();
    write_index_file(dir / "a.sridx", file).value();
  }
  malloc_trim(0);  // else what the writer gave back would hold the index
  const std::uint64_t before = resident_bytes();
  const auto begin = Clock::now();
  const auto index = ShardIndex::load(dir / "a.sridx").value();
  const std::chrono::duration<double, std::milli> took = Clock::now() - begin;
  const std::uint64_t grown = resident_bytes() - std::min(before, resident_bytes());
  ASSERT_EQ(index.count(), videos);
  const auto whole = index.read_video(videos / 2).value();
  EXPECT_EQ(whole.packets.size(), static_cast<std::size_t>(frames));
  std::printf(
      "%zu videos of %d frames: %.0f bytes a video on disk; loaded in %.0f ms into %.1f MiB "
      "(%.0f bytes a video, %.1f MiB resident)\n",
      videos, frames, static_cast<double>(bytes) / static_cast<double>(videos), took.count(),
      static_cast<double>(index.memory_bytes()) / 1048576,
      static_cast<double>(index.memory_bytes()) / static_cast<double>(videos),
      static_cast<double>(grown) / 1048576);
  EXPECT_LE(index.memory_bytes(), 192 * videos);
  if (!testing::sanitized()) {
    EXPECT_LE(grown, index.memory_bytes() * 3 / 2 + (1U << 20));
    EXPECT_LT(took.count(), 5000);  // seen: some tens of milliseconds
  }
}

TEST(ShardIndexTest, AHundredThousandVideosLoadAtOnce) {
  measure(100000, rounds(20) == 20 ? 250 : 10);
}

/// The index that docs/format.md shows byte for byte.
std::string example() {
  VideoRecord video;
  video.field = "mp4";
  video.codec = "h264";
  video.container = "mov";
  video.coded_width = video.display_width = 320;
  video.coded_height = video.display_height = 240;
  video.pixel_format = "yuv420p";
  video.color_matrix = "bt709";
  video.color_range = "tv";
  video.color_primaries = video.color_transfer = "bt709";
  video.time_base = {1, 15360};
  video.frame_rate = {30, 1};
  video.constant_rate = video.direct = true;
  video.frame_count = 3;
  video.duration_seconds = 0.1;
  video.packet_count = 3;
  video.keyframes = {{0, 0, 48, false}};
  video.codec_parameters = "PAR";
  const std::vector<PacketRecord> packets{
      {0, -512, 48, 700, 2}, {1024, 0, 748, 90, 0}, {512, 512, 838, 40, 64}};
  IndexedSample good;
  good.key = "a";
  good.end_offset = 2560;
  good.fields = {{"cls", "", 0, 512, 1, true}, {"mp4", "MP4", 1024, 1536, 878, true}};
  good.video = true;
  IndexedSample bad;
  bad.key = "b";
  bad.ordinal = 1;
  bad.offset = 2560;
  bad.end_offset = 3584;
  bad.fields = {{"mp4", "", 2560, 3072, 5, true}};
  bad.failure = Error{ErrorCode::kNotMedia, "no", {}, {}, {}};
  ShardIndexWriter writer({10240, 0x0123456789abcdef}, true, {"mp4", "mkv"});
  writer.add(good, &video, packets).value();
  writer.add(bad).value();
  return writer.finish();
}

/// "00000000  89 53 ...", sixteen bytes a line.
std::string dump(const std::string& bytes) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (at % 16 == 0) text += fmt::format("{}{:08x} ", at == 0 ? "" : "\n", at);
    text += fmt::format(" {:02x}", static_cast<unsigned char>(bytes[at]));
  }
  return text + '\n';
}

TEST(ShardIndexTest, TheExampleOfTheFormatPageIsRight) {
  ASSERT_TRUE(is_good(example()));
  std::ifstream file(SHARDREEL_FORMAT_PAGE);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(page, HasSubstr("```\n" + dump(example()) + "```\n"));
}

TEST(ShardIndexTest, AFrameTakesAFewBytes) {
  const std::string bytes = write_index(plain_shard(20, 1000, 30));
  EXPECT_LT(bytes.size(), 20U * 1000 * 3);
}

}  // namespace
}  // namespace shardreel
