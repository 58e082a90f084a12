// What the first batch waits for is decoded by all threads; nobody behind the line can tell.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <utility>

#include "loader/pipeline/decode_tools.h"
#include "shardreel/shard_writer.h"
#include "tests/loader/pipeline/small_loader.h"

namespace shardreel {
namespace {

/// Which windows were decoded together.
class Notes {
 public:
  void add(const Unit& unit) {
    const std::lock_guard lock(mutex_);
    units_.push_back({unit.windows.front().ordinal, unit.windows.size()});
  }
  [[nodiscard]] std::vector<std::pair<std::uint64_t, std::size_t>> units() const {
    const std::lock_guard lock(mutex_);
    return units_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::pair<std::uint64_t, std::size_t>> units_;  // first window, windows
};

class NotingDecoder final : public VideoDecoder {
 public:
  NotingDecoder(std::unique_ptr<VideoDecoder> decoder, Notes& notes)
      : decoder_(std::move(decoder)), notes_(notes) {}
  Result<DecodeReport> decode(Unit& unit, FrameSink& sink, const std::stop_token& stop) override {
    notes_.add(unit);
    return decoder_->decode(unit, sink, stop);
  }
  [[nodiscard]] std::uint64_t peak_frame_bytes() const noexcept override {
    return decoder_->peak_frame_bytes();
  }
  void trim() noexcept override { decoder_->trim(); }

 private:
  std::unique_ptr<VideoDecoder> decoder_;
  Notes& notes_;
};

class NotingToolbox final : public DecodeToolbox {
 public:
  NotingToolbox(ToolboxContext context, Notes& notes)
      : toolbox_(make_decode_toolbox(std::move(context))), notes_(notes) {}
  DecodeTools make(std::size_t thread) override {
    DecodeTools tools = toolbox_->make(thread);
    tools.decoder = std::make_unique<NotingDecoder>(std::move(tools.decoder), notes_);
    return tools;
  }

 private:
  std::unique_ptr<DecodeToolbox> toolbox_;
  Notes& notes_;
};

/// Six videos of ten clips, each with a keyframe at every second clip's beginning.
class FirstBatchTest : public ::testing::Test {
 protected:
  FirstBatchTest() {
    auto writer = ShardWriter::create({.directory = dir_.path().string(), .prefix = "v-"});
    for (int v = 0; v < kVideos; ++v) {
      const std::string clip =
          testing::numbered_clip(v, 80, "-c:v libx264 -qp 4 -g 16 -sc_threshold 0 -bf 0");
      const std::vector<FieldToWrite> fields{{"mp4", testing::file_content(clip)},
                                             {"cls", testing::content_of(std::to_string(v))}};
      writer->write(fmt::format("v{:03}", v), fields).value();
    }
    shards_ = {writer->finish().value().front().path};
    replace_decode_toolbox([this](ToolboxContext context) {
      return std::make_unique<NotingToolbox>(std::move(context), notes_);
    });
  }
  ~FirstBatchTest() override { replace_decode_toolbox(nullptr); }

  /// Run an epoch; returns its clips in order.
  std::vector<ClipId> run(const LoaderOptions& options) {
    std::vector<ClipId> ids;
    Loader loader = Loader::open(options);
    while (auto batch = loader.next()) {
      for (std::size_t i = 0; i < batch->size(); ++i) {
        EXPECT_EQ(testing::check_numbered_clip(*batch, i), "");
        ids.push_back(batch->clips[i].id);
      }
    }
    loader.stop();
    const Metrics metrics = loader.metrics();
    testing::expect_accounted(metrics);
    EXPECT_EQ(metrics.samples_complete, static_cast<std::uint64_t>(kVideos));
    return ids;
  }

  static constexpr int kVideos = 6;
  testing::ScratchDir dir_;
  std::vector<std::string> shards_;
  Notes notes_;
};

TEST_F(FirstBatchTest, ItsUnitsAreSplitAtKeyframesAndTheOthersAreNot) {
  LoaderOptions options = testing::small_options(shards_);
  options.resource.min_fill = 6;
  options.batch.batch_size = 4;  // 6 + 2 * 4 = 14 clips: of the first two videos
  const auto ids = run(options);
  EXPECT_EQ(ids.size(), 60U);
  std::map<std::size_t, std::size_t> by_length;
  for (const auto& [first, windows] : notes_.units()) {
    ++by_length[windows];
    EXPECT_EQ(first % 2, 0U);
  }
  EXPECT_EQ(by_length, (std::map<std::size_t, std::size_t>{{2, 10}, {10, 4}}));
}

TEST_F(FirstBatchTest, WithoutAShuffleItIsTheFirstVideo) {
  LoaderOptions options = testing::small_options(shards_);
  options.batch.shuffle = ShuffleMode::kNone;
  const auto ids = run(options);
  ASSERT_EQ(ids.size(), 60U);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(ids[i].sample, i / 10);
    EXPECT_EQ(ids[i].window, i % 10);
  }
  EXPECT_EQ(notes_.units().size(), 5U + 5U);
}

// The model: `unit_clips` = 2 cuts the same units for good, and takes turns among them.
TEST_F(FirstBatchTest, TurnsAreTakenAmongWholeUnits) {
  LoaderOptions options = testing::small_options(shards_);
  options.batch.shuffle = ShuffleMode::kShards;
  options.input.open_videos = 2;
  options.batch.batch_size = 20;
  const auto whole = run(options);
  options.window.unit_clips = 2;
  const auto in_turn = run(options);
  ASSERT_EQ(whole.size(), 60U);
  ASSERT_EQ(in_turn.size(), 60U);
  EXPECT_EQ(whole[9].sample, 0U);
  EXPECT_EQ(whole[10].sample, 1U);
  EXPECT_EQ(in_turn[1].sample, 0U);
  EXPECT_EQ(in_turn[2].sample, 1U);
}

TEST_F(FirstBatchTest, AStateInTheMiddleOfASplitUnitResumesThere) {
  LoaderOptions options = testing::small_options(shards_);
  options.batch.shuffle = ShuffleMode::kNone;
  options.batch.batch_size = 3;  // ends in a part
  const auto all = run(options);
  for (const std::size_t batches : {1U, 2U, 3U}) {
    std::vector<ClipId> got;
    LoaderState state;
    {
      Loader loader = Loader::open(options);
      for (std::size_t i = 0; i < batches; ++i) {
        const auto batch = loader.next();
        ASSERT_TRUE(batch);
        for (const ClipInfo& clip : batch->clips) got.push_back(clip.id);
      }
      state = loader.state_dict();
    }
    Loader loader = Loader::open(options, state);
    while (auto batch = loader.next()) {
      for (const ClipInfo& clip : batch->clips) got.push_back(clip.id);
    }
    EXPECT_EQ(got, all) << "after " << batches;
  }
}

}  // namespace
}  // namespace shardreel
