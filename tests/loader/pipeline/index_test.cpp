// The loader with indexes against the loader without: the same clips, order and failures; less is
// read; and an epoch's length is known before it runs.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "shardreel/loader.h"
#include "shardreel/shard_index.h"
#include "shardreel/shard_writer.h"
#include "tests/loader/pipeline/outcome.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

namespace fs = std::filesystem;
using testing::expect_same;
using testing::index_shards;
using testing::Outcome;
using testing::read_file;
using testing::run;
using testing::ScratchDir;

class IndexTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new ScratchDir();
    shards_ = new std::vector<std::string>(testing::make_numbered_shards(*dir_, 5, 20).paths);
    shards_->push_back(odd_shard());
    index_shards(*shards_, *dir_ / "index");
    fs::create_directory(dir_->path() / "nothing");
  }
  static void TearDownTestSuite() {
    delete shards_;
    delete dir_;
  }

  /// Samples that fail in several ways, containers that an index cannot shorten, and two videos in
  /// one sample; an intact archive all the same.
  static std::string odd_shard() {
    using testing::content_of;
    using testing::file_content;
    using testing::make_test_clip;
    const std::string x264 = "-c:v libx264 -preset ultrafast -g 12";
    const std::string mp4 = make_test_clip(x264 + " -bf 2", 60, "mp4", "64x48");
    auto writer =
        ShardWriter::create({.directory = dir_->path().string(), .prefix = "odd-"}).value();
    const auto write = [&](const char* key, std::vector<FieldToWrite> fields) {
      writer.write(key, fields).value();
    };
    write("a_none", {{"txt", content_of("no video")}});
    write("b_noise", {{"mp4", content_of(std::string(5000, 'x'))}, {"cls", content_of("1")}});
    write("c_ts", {{"ts", file_content(make_test_clip(x264, 60, "ts", "64x48"))}});
    write("d_mkv", {{"mkv", file_content(make_test_clip(x264, 60, "mkv", "64x48"))}});
    write(
        "e_cut",
        {{"mkv", content_of(read_file(make_test_clip(x264, 60, "mkv", "64x48")).substr(0, 9000))}});
    write("f_two",
          {{"mp4", file_content(mp4)}, {"webm", file_content(mp4)}, {"cls", content_of("2")}});
    write("g_bad", {{"rebadly", content_of("1")}, {"mp4", file_content(mp4)}});
    write("h_large", {{"mp4", file_content(mp4)}, {"bin", content_of(std::string(3 << 20, 'y'))}});
    write("i_short", {{"mp4", file_content(make_test_clip(x264, 5, "mp4", "64x48"))}});
    write("j_avi", {{"avi", file_content(make_test_clip("-c:v mpeg4 -g 12", 60, "avi", "64x48"))}});
    write("k_empty", {{"mp4", content_of("")}, {"txt", content_of("")}});
    write("l_last", {{"mp4", file_content(mp4)}, {"cls", content_of("3")}});
    const std::string path = writer.finish().value().front().path;
    mark_bad(path, "g_bad.rebadly");
    return path;
  }

  /// Turn the field of that member, of seven letters, into `__bad__`, which no writer takes.
  static void mark_bad(const std::string& path, const std::string& name) {
    std::string bytes = read_file(path);
    const std::size_t header = bytes.find(name);
    bytes.replace(header + name.size() - 7, 7, "__bad__");
    bytes.replace(header + 148, 8, 8, ' ');
    unsigned sum = 0;
    for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(bytes[header + i]);
    bytes.replace(header + 148, 7, fmt::format("{:06o}", sum) + '\0');
    std::ofstream(path, std::ios::binary) << bytes;
  }

  static LoaderOptions options() {
    LoaderOptions options = testing::small_options(*shards_);
    options.input.max_skip_ratio = 1;
    return options;
  }
  static LoaderOptions without(LoaderOptions options) {
    options.input.index_dir = *dir_ / "nothing";
    return options;
  }
  static LoaderOptions with(LoaderOptions options) {
    options.input.index_dir = *dir_ / "index";
    return options;
  }

  static ScratchDir* dir_;
  static std::vector<std::string>* shards_;
};
ScratchDir* IndexTest::dir_ = nullptr;
std::vector<std::string>* IndexTest::shards_ = nullptr;

TEST_F(IndexTest, TheSameClipsOrderAndFailures) {
  struct Case {
    const char* name;
    void (*change)(LoaderOptions&);
  };
  const Case cases[] = {
      {"dense", [](LoaderOptions&) {}},
      {"sparse", [](LoaderOptions& o) { o.window.windows_per_video = 1; }},
      {"by time", [](LoaderOptions& o) { o.window.fps = 12.5; }},
      {"two epochs", [](LoaderOptions& o) { o.batch.epochs = 2; }},
      {"one of each",
       [](LoaderOptions& o) {
         o.input.open_shards = o.input.open_videos = 1;
         o.batch.shuffle = ShuffleMode::kNone;
       }},
      {"key", [](LoaderOptions& o) { o.input.filter = {"key=v0[01]*"}; }},
      {"field", [](LoaderOptions& o) { o.input.filter = {"cls=2"}; }},
      {"frames",
       [](LoaderOptions& o) {
         o.input.filter = {"min_frames=40", "max_seconds=2"};
       }},
      {"compat", [](LoaderOptions& o) { o.input.integrity = Integrity::kCompat; }},
      {"little memory", [](LoaderOptions& o) { o.resource.memory_bytes = "24MiB"; }},
      {"small members", [](LoaderOptions& o) { o.input.member_inline_bytes = 1000; }},
      {"no large members", [](LoaderOptions& o) { o.input.max_member_bytes = 20000; }},
      {"rank of many",
       [](LoaderOptions& o) {
         o.batch.world_size = 7;
         o.batch.rank = 3;
         o.batch.ranks = RankMode::kExact;
       }},
      {"rank of two",
       [](LoaderOptions& o) {
         o.batch.world_size = 2;
         o.batch.rank = 1;
         o.batch.batches_per_epoch = 30;
       }},
      {"packets", [](LoaderOptions& o) { o.resource.shuffle_domain = ShuffleDomain::kPackets; }},
      {"fail", [](LoaderOptions& o) { o.input.on_error = OnError::kFail; }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    LoaderOptions changed = options();
    c.change(changed);
    const Outcome plain = run(without(changed)), indexed = run(with(changed));
    expect_same(plain, indexed);
    EXPECT_TRUE(indexed.warnings.empty()) << indexed.warnings.front();
    if (plain.error.empty()) {
      EXPECT_NE(indexed.bytes_read, plain.bytes_read);  // the index was used
    }
  }
}

TEST_F(IndexTest, OneWindowAVideoReadsAFraction) {
  LoaderOptions sparse = options();
  sparse.input.urls.resize(5);
  sparse.window.windows_per_video = 1;
  const Outcome plain = run(without(sparse)), indexed = run(with(sparse));
  expect_same(plain, indexed);
  EXPECT_LT(indexed.bytes_read * 2, plain.bytes_read);
}

TEST_F(IndexTest, BesideTheShardWithoutAnOption) {
  ScratchDir dir;
  std::vector<std::string> urls = testing::make_numbered_shards(dir, 2, 6).paths;
  LoaderOptions sparse = options();
  sparse.input.urls = urls;
  sparse.window.windows_per_video = 1;
  const Outcome plain = run(sparse);
  index_shards(urls, "");
  const Outcome indexed = run(sparse);
  expect_same(plain, indexed);
  EXPECT_LT(indexed.bytes_read, plain.bytes_read);
}

TEST_F(IndexTest, AStaleOrDamagedIndexIsWarnedOfAndNotUsed) {
  ScratchDir dir;
  const std::vector<std::string> urls = testing::make_numbered_shards(dir, 2, 8).paths;
  index_shards(urls, "");
  LoaderOptions over = options();
  over.input.urls = urls;
  const std::string index = *shard_index_path(urls[0]);
  const std::string good = read_file(index);
  const auto expect_ignored = [&](const char* word) {
    const Outcome plain = run(without(over)), ignored = run(over);
    expect_same(plain, ignored);
    ASSERT_EQ(ignored.warnings.size(), 1u);
    EXPECT_NE(ignored.warnings[0].find(urls[0]), std::string::npos) << ignored.warnings[0];
    EXPECT_NE(ignored.warnings[0].find(word), std::string::npos) << ignored.warnings[0];
  };
  over.batch.epochs = 2;  // warned of once
  for (const Integrity integrity : {Integrity::kStrict, Integrity::kCompat}) {
    over.input.integrity = integrity;
    std::string bad = good;
    bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 1);
    std::ofstream(index, std::ios::binary) << bad;
    expect_ignored("index");
    std::ofstream(index, std::ios::binary) << good.substr(0, good.size() / 2);
    expect_ignored("index");
    std::ofstream(index, std::ios::binary) << good;
    // The shard becomes another one.
    const std::string shard = read_file(urls[0]);
    std::ofstream(urls[0], std::ios::binary) << read_file((*shards_)[3]);
    expect_ignored("index");
    std::ofstream(urls[0], std::ios::binary) << shard;
  }
  EXPECT_TRUE(run(over).warnings.empty());
}

TEST_F(IndexTest, ADamagedShardFailsAsEver) {
  ScratchDir dir;
  const std::string cut = dir / "cut.tar";
  fs::copy_file((*shards_)[0], cut);
  fs::resize_file(cut, fs::file_size(cut) * 3 / 5);
  index_shards({cut}, dir / "index");
  LoaderOptions over = options();
  over.input.urls = {cut};
  for (const Integrity integrity : {Integrity::kStrict, Integrity::kCompat}) {
    over.input.integrity = integrity;
    over.input.index_dir = dir / "index";
    const Outcome indexed = run(over);
    expect_same(run(without(over)), indexed);
    EXPECT_FALSE(indexed.failures.empty());
  }
}

// The length of every epoch of every rank against what it delivers.
TEST_F(IndexTest, EpochLengthIsExact) {
  std::mt19937_64 random(testing::test_seed());
  struct Shape {
    std::size_t shards;
    std::uint32_t world;
  };
  std::vector<Shape> shapes;
  for (const std::size_t shards : {1u, 2u, 3u, 6u})
    for (const std::uint32_t world : {1u, 2u, 3u, 4u}) shapes.push_back({shards, world});
  std::shuffle(shapes.begin(), shapes.end(), random);
  // Each kind of windows with a few shapes; all of them under --full.
  const std::size_t each = std::max<std::size_t>(2, testing::rounds(shapes.size()));
  std::size_t next = 0;
  const auto check = [&](const char* name, auto&& change) {
    for (std::size_t i = 0; i < each; ++i) {
      const Shape shape = shapes[next++ % shapes.size()];
      SCOPED_TRACE(fmt::format("{}: {} shards, {} ranks", name, shape.shards, shape.world));
      LoaderOptions some = with(options());
      some.input.urls.erase(some.input.urls.begin(),
                            some.input.urls.end() - static_cast<std::ptrdiff_t>(shape.shards));
      some.batch.world_size = shape.world;
      some.batch.ranks = RankMode::kExact;
      some.batch.epochs = 2;
      change(some);
      std::uint64_t all = 0;
      for (std::uint32_t rank = 0; rank < shape.world; ++rank) {
        some.batch.rank = rank;
        const Loader loader = Loader::open(some);
        const auto first = loader.epoch_size(0), second = loader.epoch_size(1);
        ASSERT_TRUE(first && second);
        all += first->clips;
        if (first->batches == 0 || second->batches == 0) continue;  // an empty epoch is a failure
        const Outcome got = run(some);
        ASSERT_EQ(got.error, "");
        EXPECT_EQ(got.batches, (std::vector<std::uint64_t>{first->batches, second->batches}));
        EXPECT_EQ(got.ids.size(), first->clips + second->clips);
      }
      EXPECT_GT(all, 0u);
    }
  };
  check("dense", [](LoaderOptions&) {});
  check("drop_last", [](LoaderOptions& o) { o.batch.drop_last = true; });
  check("random windows", [](LoaderOptions& o) { o.window.windows_per_video = 2; });
  check("by time", [](LoaderOptions& o) { o.window.fps = 11; });
  check("by time, strides", [](LoaderOptions& o) {
    o.window.fps = 45;
    o.window.window_stride = 3;
  });
  check("repeat_last", [](LoaderOptions& o) {
    o.window.num_frames = 48;
    o.window.short_policy = ShortPolicy::kRepeatLast;
  });
  check("drop", [](LoaderOptions& o) { o.window.num_frames = 30; });
  check("key", [](LoaderOptions& o) { o.input.filter = {"key=[cdjv]*[!135]"}; });
  check("field", [](LoaderOptions& o) { o.input.filter = {"cls=2"}; });
  check("seconds", [](LoaderOptions& o) { o.input.filter = {"min_seconds=1.2", "max_frames=70"}; });
  check("size", [](LoaderOptions& o) { o.input.filter = {"min_width=64"}; });
  check("no large members", [](LoaderOptions& o) { o.input.max_member_bytes = 20000; });
  check("shards in order", [](LoaderOptions& o) { o.batch.shuffle = ShuffleMode::kNone; });
}

TEST_F(IndexTest, EqualRanksKnowTheirBatches) {
  for (const std::size_t shards : {1u, 2u, 5u}) {
    for (const std::uint32_t world : {2u, 3u}) {
      LoaderOptions some = with(options());
      some.input.urls.resize(shards);
      some.batch.world_size = world;
      std::set<std::vector<std::uint64_t>> batches;
      for (std::uint32_t rank = 0; rank < world; ++rank) {
        some.batch.rank = rank;
        const Loader loader = Loader::open(some);
        const auto size = loader.epoch_size(0);
        ASSERT_TRUE(size);
        const Outcome got = run(some);
        EXPECT_EQ(got.error, "");
        EXPECT_EQ(got.batches.at(0), size->batches);
        batches.insert(got.batches);
      }
      EXPECT_EQ(batches.size(), 1u);
    }
  }
}

TEST_F(IndexTest, WithoutIndexesNothingIsPromised) {
  LoaderOptions some = without(options());
  EXPECT_FALSE(Loader::open(some).epoch_size(0));
  const auto report = plan(some);
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->epoch);
  EXPECT_NE(report->epoch_unknown.find("has no index"), std::string::npos);
  some.batch.batches_per_epoch = 3;
  EXPECT_EQ(Loader::open(some).epoch_size(7)->clips, 12u);
  some.batch.batches_per_epoch.reset();
  some.batch.world_size = 2;
  try {
    Loader::open(some);
    FAIL() << "equal ranks without a length";
  } catch (const ShardreelError& error) {
    EXPECT_EQ(error.error().code, ErrorCode::kInvalidOption);
    const std::string text = error.error().describe();
    for (const char* word : {"2 ranks", "batches_per_epoch", "ranks = exact", "has no index"})
      EXPECT_NE(text.find(word), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace shardreel
