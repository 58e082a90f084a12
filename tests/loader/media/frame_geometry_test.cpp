#include "loader/media/frame_geometry.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "tests/support/scratch.h"

namespace shardreel {
namespace {

TransformOptions output(std::uint32_t width, std::uint32_t height, ResizeMode mode) {
  TransformOptions options;
  options.width = width;
  options.height = height;
  options.resize_mode = mode;
  return options;
}

TEST(FrameGeometry, ShortSideCropsTheLargestCentredRectangle) {
  const auto g = frame_geometry(340, 256, {}, output(224, 224, ResizeMode::kShortSide), {});
  EXPECT_DOUBLE_EQ(g.crop_x, 42);
  EXPECT_DOUBLE_EQ(g.crop_y, 0);
  EXPECT_DOUBLE_EQ(g.crop_width, 256);
  EXPECT_DOUBLE_EQ(g.crop_height, 256);
  EXPECT_EQ(g.scaled_width, 224U);
  EXPECT_EQ(g.scaled_height, 224U);
  const auto same = frame_geometry(640, 360, {}, output(320, 180, ResizeMode::kShortSide), {});
  EXPECT_EQ(same.crop_x, 0);
  EXPECT_EQ(same.crop_width, 640);
  EXPECT_EQ(same.crop_height, 360);
}

TEST(FrameGeometry, CropPositionFollowsTheDraws) {
  TransformDraws draws;
  draws.crop_x = 0.25;
  draws.crop_y = 0.75;
  TransformOptions options = output(100, 100, ResizeMode::kShortSide);
  options.crop = CropMode::kRandom;
  EXPECT_DOUBLE_EQ(frame_geometry(300, 200, {}, options, draws).crop_x, 25);
  EXPECT_DOUBLE_EQ(frame_geometry(200, 300, {}, options, draws).crop_y, 75);
  options.resize_mode = ResizeMode::kStretch;  // nothing is cut, so nothing moves
  EXPECT_EQ(frame_geometry(300, 200, {}, options, draws).crop_width, 300);
}

TEST(FrameGeometry, FitLeavesBars) {
  auto g = frame_geometry(640, 360, {}, output(224, 224, ResizeMode::kFit), {});
  EXPECT_EQ(g.scaled_width, 224U);
  EXPECT_EQ(g.scaled_height, 126U);
  EXPECT_EQ(g.left, 0U);
  EXPECT_EQ(g.top, 49U);
  g = frame_geometry(1, 100'000, {}, output(224, 224, ResizeMode::kFit), {});
  EXPECT_EQ(g.scaled_width, 1U);  // never 0
  EXPECT_EQ(g.left, 111U);
  TransformOptions planar = output(224, 224, ResizeMode::kFit);
  planar.color = ColorMode::kYuv420;
  g = frame_geometry(641, 363, {}, planar, {});
  EXPECT_EQ(g.scaled_height % 2, 0U);
  EXPECT_EQ(g.top % 2, 0U);
}

TEST(FrameGeometry, SlotBytes) {
  TransformOptions options = output(224, 112, ResizeMode::kStretch);
  EXPECT_EQ(slot_bytes(options), 224U * 112 * 3);
  options.color = ColorMode::kGray;
  EXPECT_EQ(slot_bytes(options), 224U * 112);
  options.color = ColorMode::kYuv420;
  EXPECT_EQ(slot_bytes(options), 224U * 112 * 3 / 2);
}

struct Case {
  std::uint32_t width, height;
  Orientation orientation;
  TransformOptions options;
  TransformDraws draws;
};

Case random_case(std::mt19937_64& random) {
  const auto integer = [&](std::uint32_t low, std::uint32_t high) {
    return std::uniform_int_distribution<std::uint32_t>(low, high)(random);
  };
  const auto real = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  const std::uint32_t most = integer(0, 3) == 0 ? 9000 : 40;
  Case c{integer(1, most), integer(1, most), {integer(0, 3), integer(0, 1) == 1}, {}, {}};
  c.options = output(integer(1, 300), integer(1, 300), static_cast<ResizeMode>(integer(0, 2)));
  c.options.color = static_cast<ColorMode>(integer(0, 2));
  if (c.options.color == ColorMode::kYuv420) {
    c.options.width *= 2;
    c.options.height *= 2;
  }
  c.options.crop = static_cast<CropMode>(integer(0, 2));
  c.options.crop_scale_min = real(0.01, 1);
  c.options.crop_scale_max = real(c.options.crop_scale_min, 1);
  c.options.crop_ratio_min = real(0.1, 3);
  c.options.crop_ratio_max = real(c.options.crop_ratio_min, 4);
  c.draws = {real(0, 1), real(0, 1), real(0, 1), real(0, 1), integer(0, 1) == 1};
  return c;
}

TEST(FrameGeometry, StaysInsideThePictureAndTheSlot) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = testing::rounds(400'000); round > 0; --round) {
    const Case c = random_case(random);
    const auto g = frame_geometry(c.width, c.height, c.orientation, c.options, c.draws);
    ASSERT_GE(g.crop_x, 0);
    ASSERT_GE(g.crop_y, 0);
    ASSERT_GT(g.crop_width, 0);
    ASSERT_GT(g.crop_height, 0);
    ASSERT_LE(g.crop_x + g.crop_width, c.width + 1e-9);
    ASSERT_LE(g.crop_y + g.crop_height, c.height + 1e-9);
    const bool sideways = g.quarter_turns % 2 != 0;
    const std::uint32_t shown_width = sideways ? g.scaled_height : g.scaled_width;
    const std::uint32_t shown_height = sideways ? g.scaled_width : g.scaled_height;
    ASSERT_GE(shown_width, 1U);
    ASSERT_GE(shown_height, 1U);
    ASSERT_LE(g.left + shown_width, c.options.width);
    ASSERT_LE(g.top + shown_height, c.options.height);
    if (c.options.color == ColorMode::kYuv420) {
      ASSERT_EQ((shown_width | shown_height | g.left | g.top) % 2, 0U);
    }
    if (c.options.crop == CropMode::kResized) {
      const double part = g.crop_width * g.crop_height / c.width / c.height;
      ASSERT_LE(part, c.options.crop_scale_max + 1e-9 + 1.0 / std::min(c.width, c.height));
    }
  }
}

TEST(FrameGeometry, ResizedKeepsAreaAndRatioWhereThePictureHasRoom) {
  std::mt19937_64 random(testing::test_seed());
  std::uint64_t roomy = 0;
  for (int i = 0; i < 2000; ++i) {
    Case c = random_case(random);
    c.width = 1000;
    c.height = 700;
    c.orientation = {};
    c.options.crop = CropMode::kResized;
    const double area = c.options.crop_scale_min +
                        c.draws.area * (c.options.crop_scale_max - c.options.crop_scale_min);
    const double ratio =
        c.options.crop_ratio_min *
        std::pow(c.options.crop_ratio_max / c.options.crop_ratio_min, c.draws.ratio);
    const auto g = frame_geometry(c.width, c.height, c.orientation, c.options, c.draws);
    ASSERT_NEAR(g.crop_width / g.crop_height, ratio, ratio * 1e-9);
    if (std::sqrt(area * 7e5 * ratio) <= 1000 && std::sqrt(area * 7e5 / ratio) <= 700) {
      ++roomy;
      ASSERT_NEAR(g.crop_width * g.crop_height, area * 7e5, 1e-3);
    }
  }
  EXPECT_GT(roomy, 100U);
}

// What the geometry says must be what one gets by turning the picture first and cropping then. A
// point of the output is followed back both ways.
TEST(FrameGeometry, TurningAndCroppingCommute) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = testing::rounds(200'000); round > 0; --round) {
    const Case c = random_case(random);
    const bool sideways = c.orientation.quarter_turns % 2 != 0;
    const auto g = frame_geometry(c.width, c.height, c.orientation, c.options, c.draws);
    const auto upright = frame_geometry(sideways ? c.height : c.width,
                                        sideways ? c.width : c.height, {}, c.options, c.draws);
    ASSERT_EQ(upright.left, g.left);
    ASSERT_EQ(upright.top, g.top);
    // A pixel of the displayed crop, as fractions of it, then in the displayed picture.
    const double u = std::uniform_real_distribution<double>(0, 1)(random);
    const double v = std::uniform_real_distribution<double>(0, 1)(random);
    double x = upright.crop_x + u * upright.crop_width;
    double y = upright.crop_y + v * upright.crop_height;
    // Turn the picture back a quarter at a time: the point (x, y) of a picture that was turned
    // clockwise was at (y, old_height - x).
    double old_height = sideways ? c.width : c.height;
    double old_width = sideways ? c.height : c.width;
    for (std::uint32_t turn = 0; turn < c.orientation.quarter_turns; ++turn) {
      std::swap(old_width, old_height);
      const double was_y = old_height - x;
      x = y;
      y = was_y;
    }
    if (c.orientation.mirror) x = c.width - x;
    // The same pixel through the geometry: its place in the scaled picture is (u, v) turned back.
    double s = u, t = v;
    for (std::uint32_t turn = 0; turn < g.quarter_turns; ++turn) {
      const double was_t = 1 - s;
      s = t;
      t = was_t;
    }
    if (g.mirror) s = 1 - s;
    ASSERT_NEAR(g.crop_x + s * g.crop_width, x, 1e-6);
    ASSERT_NEAR(g.crop_y + t * g.crop_height, y, 1e-6);
    ASSERT_EQ(sideways ? g.scaled_height : g.scaled_width, upright.scaled_width);
  }
}

// A pixel of a x b is a square pixel repeated a times across and b times down: the geometry is that
// of such a picture, in coded pixels. And without `apply` the ratio is nothing.
TEST(FrameGeometry, SampleAspectIsThatOfRepeatedPixels) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = testing::rounds(200'000); round > 0; --round) {
    Case c = random_case(random);
    const auto plain = frame_geometry(c.width, c.height, c.orientation, c.options, c.draws);
    const auto a = static_cast<std::uint32_t>(1 + random() % 12);
    const auto b = static_cast<std::uint32_t>(1 + random() % 12);
    Orientation shaped = c.orientation;
    shaped.pixel_width = a;
    shaped.pixel_height = b;
    ASSERT_EQ(frame_geometry(c.width, c.height, shaped, c.options, c.draws), plain);
    c.options.sample_aspect = SampleAspect::kApply;
    ASSERT_EQ(frame_geometry(c.width, c.height, c.orientation, c.options, c.draws), plain);
    const auto g = frame_geometry(c.width, c.height, shaped, c.options, c.draws);
    const auto large = frame_geometry(c.width * a, c.height * b, c.orientation, c.options, c.draws);
    ASSERT_EQ(g.scaled_width, large.scaled_width);
    ASSERT_EQ(g.scaled_height, large.scaled_height);
    ASSERT_EQ(g.left, large.left);
    ASSERT_EQ(g.top, large.top);
    ASSERT_LE(g.crop_x + g.crop_width, c.width + 1e-9);
    ASSERT_LE(g.crop_y + g.crop_height, c.height + 1e-9);
    ASSERT_GE(g.crop_width, 1 - 1e-9);
    ASSERT_GE(g.crop_height, 1 - 1e-9);
    // Less than a coded pixel is never taken.
    if (large.crop_width < a || large.crop_height < b) continue;
    ASSERT_NEAR(g.crop_width * a, large.crop_width, 1e-6);
    ASSERT_NEAR(g.crop_height * b, large.crop_height, 1e-6);
    ASSERT_NEAR(g.crop_x * a, large.crop_x, 1e-6);
    ASSERT_NEAR(g.crop_y * b, large.crop_y, 1e-6);
  }
}

// The largest numbers that a stream may tell stay inside the picture.
TEST(FrameGeometry, ExtremeSampleAspects) {
  for (const auto& [wide, high] : {std::pair{65'535U, 1U}, {1U, 65'535U}, {65'535U, 65'534U}}) {
    for (const ResizeMode mode : {ResizeMode::kShortSide, ResizeMode::kStretch, ResizeMode::kFit}) {
      for (const std::uint32_t turns : {0U, 1U}) {
        TransformOptions options = output(16'384, 16'384, mode);
        options.sample_aspect = SampleAspect::kApply;
        const auto g = frame_geometry(16'000, 9000, {turns, false, wide, high}, options, {});
        EXPECT_GE(g.crop_width, 1 - 1e-9);
        EXPECT_GE(g.crop_height, 1 - 1e-9);
        EXPECT_LE(g.crop_x + g.crop_width, 16'000 + 1e-9);
        EXPECT_LE(g.crop_y + g.crop_height, 9000 + 1e-9);
        EXPECT_GE(g.scaled_width, 1U);
        EXPECT_LE(g.scaled_width, 16'384U);
        EXPECT_GE(g.scaled_height, 1U);
        EXPECT_LE(g.scaled_height, 16'384U);
      }
    }
  }
}

TEST(TransformDraws, AreKeyedPerClipAndFair) {
  TransformOptions options;
  options.crop = CropMode::kResized;
  options.flip = 0.25;
  const std::uint64_t seed = testing::test_seed();
  std::set<double> seen;
  double flips = 0, x = 0, y = 0, area = 0, ratio = 0;
  constexpr int kClips = 20'000;
  for (std::uint64_t i = 0; i < kClips; ++i) {
    const auto d = draw_transform(options, seed, {0, 0, i / 10, i % 10});
    for (const double value : {d.crop_x, d.crop_y, d.area, d.ratio}) {
      ASSERT_GE(value, 0);
      ASSERT_LT(value, 1);
      seen.insert(value);
    }
    flips += d.flip ? 1.0 / kClips : 0;
    x += d.crop_x / kClips;
    y += d.crop_y / kClips;
    area += d.area / kClips;
    ratio += d.ratio / kClips;
  }
  EXPECT_EQ(seen.size(), 4U * kClips);
  EXPECT_NEAR(flips, 0.25, 0.02);
  for (const double mean : {x, y, area, ratio}) EXPECT_NEAR(mean, 0.5, 0.012);
  const auto again = draw_transform(options, seed, {3, 2, 1, 0});
  EXPECT_EQ(again.crop_x, draw_transform(options, seed, {3, 2, 1, 0}).crop_x);
  EXPECT_NE(again.crop_x, draw_transform(options, seed, {4, 2, 1, 0}).crop_x);
  options.crop = CropMode::kCenter;
  options.flip = 1;
  const auto centred = draw_transform(options, seed, {3, 2, 1, 0});
  EXPECT_EQ(centred.crop_x, 0.5);
  EXPECT_EQ(centred.crop_y, 0.5);
  EXPECT_TRUE(centred.flip);
  options.flip = 0;
  EXPECT_FALSE(draw_transform(options, seed, {3, 2, 1, 0}).flip);
}

}  // namespace
}  // namespace shardreel
