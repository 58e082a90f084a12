// When a device's pictures count as the CPU's.
#include "loader/decode/pixel_proof.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/test_frame.h"

namespace shardreel {
namespace {

constexpr int kSide = 64;

/// Gray pictures as they are, so that what differs is known to the sample.
class PixelProofTest : public ::testing::Test {
 protected:
  PixelProofTest() {
    options_.width = options_.height = kSide;
    options_.color = ColorMode::kYuv420;
    converter_ = make_frame_converter(options_);
    proof_.emplace(*converter_, options_);
    proof_->begin({});
  }
  static AVFramePtr picture(std::uint64_t seed) {
    return testing::make_frame("yuv420p", kSide, kSide, testing::Content::kPicture, seed);
  }
  void device(std::int64_t number, const AVFrame& frame) {
    ASSERT_TRUE(proof_->device_frame(frame, {.frame = number}));
  }
  void cpu(std::int64_t number, const AVFrame& frame) {
    ASSERT_TRUE(proof_->cpu_frame(frame, {.frame = number}));
  }
  /// Both show pictures of which `samples` are `levels` apart.
  std::optional<std::string> apart(int samples, int levels) {
    proof_->begin({});
    for (std::int64_t i = 0; i < 2; ++i) {
      AVFramePtr here = picture(static_cast<std::uint64_t>(i)), there = picture(9);
      for (int y = 0; y < kSide; ++y) {
        for (int x = 0; x < kSide; ++x) {
          auto& of_device = there->data[0][y * there->linesize[0] + x];
          auto& of_cpu = here->data[0][y * here->linesize[0] + x];
          of_cpu = static_cast<std::uint8_t>(64 + (x + y) % 64);
          of_device = of_cpu;
          if (i == 0 && y * kSide + x < samples)
            of_device = static_cast<std::uint8_t>(of_cpu + levels);
        }
      }
      for (const int plane : {1, 2}) {
        for (int y = 0; y < kSide / 2; ++y) {
          std::fill_n(here->data[plane] + y * here->linesize[plane], kSide / 2, std::uint8_t{128});
          std::fill_n(there->data[plane] + y * there->linesize[plane], kSide / 2,
                      std::uint8_t{128});
        }
      }
      device(i, *there);
      cpu(i, *here);
    }
    return proof_->difference();
  }

  TransformOptions options_;
  std::unique_ptr<FrameConverter> converter_;
  std::optional<PixelProof> proof_;
};

TEST_F(PixelProofTest, TheContractsBoundsAreTheBounds) {
  // Two pictures of 64 * 64 * 3 / 2 samples: one in a thousand is 12.
  EXPECT_EQ(apart(0, 0), std::nullopt);
  EXPECT_EQ(apart(12, 6), std::nullopt);
  EXPECT_THAT(apart(13, 3).value(), ::testing::HasSubstr("3 levels"));
  EXPECT_THAT(apart(1, 7).value(), ::testing::HasSubstr("7 levels"));
  EXPECT_EQ(apart(kSide * kSide, 1), std::nullopt);
  // Two levels everywhere in the luma of one of two: 47 dB.
  EXPECT_EQ(apart(kSide * kSide, 2), std::nullopt);
}

TEST_F(PixelProofTest, FramesMustBeTheSameOnes) {
  const auto frame = picture(1);
  EXPECT_THAT(proof_->difference().value(), ::testing::HasSubstr("no frames"));
  device(3, *frame);
  EXPECT_THAT(proof_->difference().value(), ::testing::HasSubstr("frame 3"));
  cpu(3, *frame);
  EXPECT_EQ(proof_->difference(), std::nullopt);
  cpu(5, *frame);
  EXPECT_THAT(proof_->difference().value(), ::testing::HasSubstr("frame 5 did not come"));
}

TEST_F(PixelProofTest, TheFirstEightAreLookedAt) {
  const auto frame = picture(1), other = picture(2);
  for (int i = 0; i < 20; ++i) device(i, i < 8 ? *frame : *other);
  for (int i = 0; i < 20; ++i) cpu(i, *frame);
  EXPECT_EQ(proof_->difference(), std::nullopt);
  proof_->begin({});
  for (int i = 0; i < 20; ++i) device(i, i < 7 ? *frame : *other);
  for (int i = 0; i < 20; ++i) cpu(i, *frame);
  EXPECT_THAT(proof_->difference().value(), ::testing::HasSubstr("dB"));
}

}  // namespace
}  // namespace shardreel
