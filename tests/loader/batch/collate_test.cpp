#include "loader/batch/collate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "loader/batch/half.h"
#include "shardreel/batch.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

/// A binary16 as a number, by the standard's formula.
double half_value(std::uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int mantissa = half & 1023;
  const double sign = (half & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

/// The nearest of all 65536 halves, ties to the even one, by looking at every finite one's
/// neighbours: bisection over the positive ones, which are ordered as their bits are.
std::uint16_t nearest_half(double value) {
  const double magnitude = std::fabs(value);
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
  if (magnitude >= 65520) return sign | 0x7c00;  // halfway to what would be 2^16
  std::uint16_t low = 0, high = 0x7c00;
  while (high - low > 1) {
    const auto middle = static_cast<std::uint16_t>((low + high) / 2);
    (half_value(middle) <= magnitude ? low : high) = middle;
  }
  const double below = magnitude - half_value(low);
  const double above = (high == 0x7c00 ? 65536.0 : half_value(high)) - magnitude;
  if (below < above || (below == above && low % 2 == 0)) return sign | low;
  return sign | high;
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(to_half(0.0), 0x0000);
  EXPECT_EQ(to_half(-0.0), 0x8000);
  EXPECT_EQ(to_half(1.0), 0x3c00);
  EXPECT_EQ(to_half(-2.0), 0xc000);
  EXPECT_EQ(to_half(65504.0), 0x7bff);
  EXPECT_EQ(to_half(65519.9), 0x7bff);
  EXPECT_EQ(to_half(65520.0), 0x7c00);
  EXPECT_EQ(to_half(INFINITY), 0x7c00);
  EXPECT_EQ(to_half(NAN) & 0x7c00, 0x7c00);
  EXPECT_NE(to_half(NAN) & 0x03ff, 0);
  EXPECT_EQ(to_half(std::ldexp(1.0, -24)), 0x0001);
  EXPECT_EQ(to_half(std::ldexp(1.0, -25)), 0x0000);  // a tie, to the even zero
  EXPECT_EQ(to_half(std::ldexp(1.0001, -25)), 0x0001);
  EXPECT_EQ(to_half(1 + std::ldexp(1.0, -11)), 0x3c00);
  EXPECT_EQ(to_half(1 + 3 * std::ldexp(1.0, -11)), 0x3c02);
}

TEST(Half, AgreesWithSearchingAllHalves) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {  // every half is itself
    const auto half = static_cast<std::uint16_t>(bits);
    if (!std::isnan(half_value(half))) {
      ASSERT_EQ(to_half(half_value(half)), half);
    }
  }
  for (std::uint64_t round = testing::rounds(2'000'000); round > 0; --round) {
    const double value = std::ldexp(std::uniform_real_distribution<double>(-2, 2)(random),
                                    std::uniform_int_distribution<int>(-28, 16)(random));
    ASSERT_EQ(to_half(value), nearest_half(value)) << value;
    const auto half = static_cast<std::uint16_t>(random() % 0x7bff);
    const double tie = (half_value(half) + half_value(static_cast<std::uint16_t>(half + 1))) / 2;
    ASSERT_EQ(to_half(tie), nearest_half(tie)) << "between halves " << half;
  }
}

/// Where element (t, y, x, c) of a clip lies in a layout, in elements.
std::size_t place(Layout layout, std::size_t t, std::size_t p, std::size_t c,
                  std::size_t num_frames, std::size_t pixels, std::size_t channels) {
  switch (layout) {
    case Layout::kThwc: return (t * pixels + p) * channels + c;
    case Layout::kTchw: return (t * channels + c) * pixels + p;
    case Layout::kCthw: break;
  }
  return (c * num_frames + t) * pixels + p;
}

TEST(Collate, AgreesWithTheScalarModel) {
  std::mt19937_64 random(testing::test_seed());
  const std::vector<std::vector<double>> means = {{}, {0.45}, {0.485, 0.456, 0.406}};
  const std::vector<std::vector<double>> stds = {{}, {0.225}, {0.229, 0.224, 0.225}};
  for (const ColorMode color : {ColorMode::kRgb, ColorMode::kGray, ColorMode::kYuv420}) {
    for (const Layout layout : {Layout::kThwc, Layout::kTchw, Layout::kCthw}) {
      for (const DType dtype : {DType::kUint8, DType::kFloat16, DType::kFloat32}) {
        for (std::size_t norm = 0; norm < means.size(); ++norm) {
          for (const auto& [width, height] :
               {std::pair<std::size_t, std::size_t>{2, 2}, {38, 18}}) {
            if (color != ColorMode::kRgb && means[norm].size() > 1) continue;
            const std::size_t channels = color == ColorMode::kRgb ? 3 : 1;
            const std::size_t pixels =
                color == ColorMode::kYuv420 ? width * height * 3 / 2 : width * height;
            constexpr std::size_t kFrames = 5;
            TransformOptions options;
            options.color = color;
            options.layout = layout;
            options.dtype = dtype;
            options.mean = means[norm];
            options.std = stds[norm];
            std::vector<std::byte> clip(kFrames * pixels * channels);
            for (auto& byte : clip) byte = static_cast<std::byte>(random());
            const std::size_t element = element_bytes(dtype);
            std::vector<std::byte> batch(clip.size() * element);
            collate_clip(clip, options, kFrames, batch);
            for (std::size_t t = 0; t < kFrames; ++t) {
              for (std::size_t p = 0; p < pixels; ++p) {
                for (std::size_t c = 0; c < channels; ++c) {
                  const auto raw = static_cast<int>(clip[(t * pixels + p) * channels + c]);
                  const std::byte* at =
                      batch.data() + place(layout, t, p, c, kFrames, pixels, channels) * element;
                  const auto pick = [c](const std::vector<double>& v, double none) {
                    return v.empty() ? none : v.size() == 1 ? v[0] : v[c];
                  };
                  const double want = (raw / 255.0 - pick(options.mean, 0)) / pick(options.std, 1);
                  if (dtype == DType::kUint8) {
                    ASSERT_EQ(static_cast<int>(*at), raw);
                  } else if (dtype == DType::kFloat32) {
                    float got = 0;
                    std::memcpy(&got, at, sizeof got);
                    ASSERT_EQ(got, static_cast<float>(want));
                  } else {
                    std::uint16_t got = 0;
                    std::memcpy(&got, at, sizeof got);
                    ASSERT_EQ(got, nearest_half(want));
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}

TEST(Collate, NothingToDo) {
  collate_clip({}, TransformOptions{}, 0, {});
  collate_clip({}, TransformOptions{}, 16, {});
}

}  // namespace
}  // namespace shardreel
