// Reading a unit's packets out of the middle of a large file: the right ones, without reading all
// that lies before them.

#include "loader/demux/unit_packets.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "tests/loader/decode/oracle.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

class CountingSource final : public RandomAccess {
 public:
  explicit CountingSource(std::shared_ptr<const RandomAccess> of) : of_(std::move(of)) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return of_->size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    auto got = of_->read_at(offset, into);
    if (got) bytes += *got;
    return got;
  }
  mutable std::atomic<std::uint64_t> bytes = 0;

 private:
  std::shared_ptr<const RandomAccess> of_;
};

struct Recipe {
  const char* name;
  const char* arguments;
  const char* extension;
  bool jumps;  ///< whether the container has an index that leads to the right place
};

const Recipe kRecipes[] = {
    {"mp4", "-c:v libx264 -preset ultrafast -qp 8 -g 20 -bf 2", "mp4", true},
    {"mp4_open", "-c:v libx264 -preset ultrafast -qp 8 -x264-params open-gop=1:keyint=20:bframes=2",
     "mp4", true},
    {"fragmented", "-c:v libx264 -preset ultrafast -qp 8 -g 20 -movflags frag_keyframe+empty_moov",
     "mp4", true},
    {"mkv", "-c:v libx264 -preset ultrafast -qp 8 -g 20 -bf 2", "mkv", true},
    {"ts", "-c:v libx264 -preset ultrafast -qp 8 -g 20 -bf 2", "ts", false},
};

class LargeFile : public ::testing::TestWithParam<Recipe> {};

TEST_P(LargeFile, WindowsFarInAreRightAndCheap) {
  const std::string path =
      make_clip(std::string("-f lavfi -i testsrc2=size=480x320:rate=30 -vf noise=alls=60:allf=t "
                            "-frames:v 120 -pix_fmt yuv420p ") +
                    GetParam().arguments,
                GetParam().extension);
  ASSERT_GT(std::filesystem::file_size(path), 6u << 20);
  const auto expected = oracle_frames(path);
  const auto source = std::make_shared<CountingSource>(file_in_memory(path));
  const auto decoder = make_cpu_decoder();
  for (const bool streaming : {false, true}) {
    auto video = VideoFile::open(source, {});
    ASSERT_TRUE(video) << video.error().describe();
    EXPECT_EQ(static_cast<std::size_t>(video->facts().frame_count), expected.size());
    source->bytes = 0;
    std::vector<Window> windows;
    for (const std::int64_t at : {2, 45, 46, 103}) {
      windows.push_back({windows.size(), {at, at + 1, at + 5}});
    }
    const auto got = decode_windows(*video, windows, *decoder, streaming);
    EXPECT_TRUE(got.failures.empty()) << got.failures.front();
    EXPECT_EQ(got.frames.size(), 11u);  // of 45 + 1 and 46, one frame is shared
    for (const auto& [frame, hash] : got.frames)
      EXPECT_EQ(hash, expected[static_cast<std::size_t>(frame)]) << frame;
    // Without an index it is read through once for all units that follow each other, and each
    // streaming unit reads for itself (and probes, a little more).
    const std::uint64_t passes = streaming ? got.units : 1;
    EXPECT_LT(source->bytes,
              GetParam().jumps ? source->size() * 3 / 4 : source->size() * passes * 5 / 4);
  }
}

INSTANTIATE_TEST_SUITE_P(All, LargeFile, ::testing::ValuesIn(kRecipes),
                         [](const auto& recipe) { return std::string(recipe.param.name); });

}  // namespace
}  // namespace shardreel::testing
