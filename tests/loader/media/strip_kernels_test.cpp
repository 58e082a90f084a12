// The kernels on every instruction set of this machine, against each other and against their
// arithmetic.
#include "loader/media/strip_kernels.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <string>

#include "loader/media/frame_converter.h"
#include "loader/media/strip_converter.h"
#include "tests/support/scratch.h"
#include "tests/support/test_frame.h"

namespace shardreel {
namespace {

using testing::Content;
using testing::make_frame;

/// Makes the kernels run on one instruction set while it lives.
class Target {
 public:
  explicit Target(std::int64_t target) { set(target); }
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  ~Target() { set(0); }

 private:
  static void set(std::int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

/// One for each of the kernels' instruction sets that this machine has.
std::vector<std::int64_t> targets() {
  std::vector<std::int64_t> found;
  std::set<std::string> names;
  const std::int64_t machine = hwy::SupportedTargets();
  for (int bit = 0; bit < 63; ++bit) {
    const std::int64_t target = std::int64_t{1} << bit;
    if ((machine & target) == 0 && target != HWY_EMU128) continue;
    const Target chosen(target);
    if (kernel_target() == std::string(hwy::TargetName(target)) &&
        names.insert(kernel_target()).second) {
      found.push_back(target);
    }
  }
  return found;
}

TEST(StripKernels, RunOnWhatTheMachineHas) {
  std::set<std::string> names;
  for (const std::int64_t target : targets()) names.insert(hwy::TargetName(target));
  EXPECT_TRUE(names.contains("EMU128"));
#if defined(__x86_64__)
  EXPECT_EQ(names.contains("SSE4"), __builtin_cpu_supports("sse4.2") != 0);
  EXPECT_EQ(names.contains("AVX2"), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(names.contains("AVX3"), __builtin_cpu_supports("avx512vl") != 0);
#elif defined(__aarch64__)
  EXPECT_TRUE(names.contains("NEON"));
#endif
}

TEST(StripKernels, EveryInstructionSetGivesTheSameBytes) {
  std::mt19937_64 random(testing::test_seed());
  const auto integer = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  const auto real = [&] { return std::uniform_real_distribution<double>(0, 1)(random); };
  constexpr const char* kFormats[] = {"yuv420p",     "yuv422p",     "yuv444p",     "yuvj420p",
                                      "yuv420p10le", "yuv422p10le", "yuv444p12le", "yuv444p16le",
                                      "gray",        "gray16le",    "gbrp",        "gbrp10le",
                                      "nv12",        "yuv410p",     "rgb24"};
  const std::vector<std::int64_t> all = targets();
  ASSERT_GE(all.size(), 2U);
  for (std::uint64_t round = testing::rounds(8000); round > 0; --round) {
    const char* format = kFormats[integer(0, std::size(kFormats) - 1)];
    const int most = integer(0, 3) == 0 ? 700 : 150;
    const int width = integer(1, most), height = integer(1, most);
    const auto frame =
        make_frame(format, width, height, Content::kNoise, random(), 1 << integer(0, 6));
    frame->chroma_location = static_cast<AVChromaLocation>(integer(0, 6));
    frame->color_range = static_cast<AVColorRange>(integer(0, 2));
    TransformOptions options;
    options.width = static_cast<std::uint32_t>(integer(1, 130));
    options.height = static_cast<std::uint32_t>(integer(1, 130));
    options.color = static_cast<ColorMode>(integer(0, 2));
    if (options.color == ColorMode::kYuv420) {
      options.width *= 2;
      options.height *= 2;
    }
    options.resize_mode = static_cast<ResizeMode>(integer(0, 2));
    options.crop = static_cast<CropMode>(integer(0, 2));
    options.crop_scale_min = 0.1;
    const TransformDraws draws{real(), real(), real(), real(), integer(0, 1) == 1};
    const Orientation orientation{static_cast<std::uint32_t>(integer(0, 3)), integer(0, 1) == 1};
    const FrameGeometry geometry =
        frame_geometry(static_cast<std::uint32_t>(width), static_cast<std::uint32_t>(height),
                       orientation, options, draws);
    std::vector<std::byte> first;
    for (const std::int64_t target : all) {
      const Target chosen(target);
      std::vector<std::byte> slot(slot_bytes(options), std::byte{0xa5});
      ASSERT_TRUE(make_frame_converter(options)->convert(*frame, geometry, slot));
      if (first.empty()) first = slot;
      ASSERT_EQ(slot, first) << kernel_target() << ": " << format << " " << width << "x" << height
                             << " to " << options.width << "x" << options.height << " color "
                             << static_cast<int>(options.color) << " turns "
                             << orientation.quarter_turns;
    }
  }
}

/// A plane of random 16-bit samples.
struct Samples {
  std::vector<std::uint16_t> values;
  StripInput input;
  Samples(std::uint32_t width, std::uint32_t height, std::mt19937_64& random)
      : values(std::size_t{width} * height) {
    for (auto& value : values) value = static_cast<std::uint16_t>(random());
    input.plane = {reinterpret_cast<const std::uint8_t*>(values.data()),
                   static_cast<std::ptrdiff_t>(width) * 2,
                   width,
                   height,
                   2,
                   16};
    input.region = {0, 0, static_cast<double>(width), static_cast<double>(height)};
  }
};

// Integers against the map in double precision, for any map, size and turn: less than a tenth of a
// step off before rounding. Nothing is written beside the picture.
TEST(StripKernels, AgreeWithTheMap) {
  std::mt19937_64 random(testing::test_seed());
  const auto number = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  for (const std::int64_t target : targets()) {
    const Target chosen(target);
    StripConverter converter;
    for (std::uint64_t round = testing::rounds(4000); round > 0; --round) {
      AffineMap map;
      map.inputs = random() % 2 == 0 ? 1 : 3;
      map.outputs = random() % 2 == 0 ? 1 : 3;
      for (std::size_t o = 0; o < 3; ++o) {
        // As colour does: the middle of the range stays in the range.
        map.offset[o] = number(28, 228);
        for (int i = 0; i < map.inputs; ++i) {
          double& factor = map.factor[o][static_cast<std::size_t>(i)];
          factor = number(-1.9, 1.9);
          map.offset[o] -= 128 * factor;
        }
      }
      const auto inputs = static_cast<std::size_t>(map.inputs);
      const auto outputs = static_cast<std::size_t>(map.outputs);
      const std::uint32_t width = 1 + static_cast<std::uint32_t>(random() % 150),
                          height = 1 + static_cast<std::uint32_t>(random() % 80);
      std::vector<Samples> samples;
      std::vector<StripInput> in;
      for (std::size_t i = 0; i < inputs; ++i) {
        samples.emplace_back(width, height, random);
        in.push_back(samples.back().input);
      }
      const Turn turn{random() % 2 == 0, random() % 2 == 0, random() % 2 == 0};
      const std::uint32_t out_width = turn.transpose ? height : width;
      const std::uint32_t out_height = turn.transpose ? width : height;
      const std::size_t stride = out_width * outputs + random() % 70;
      std::vector<std::uint8_t> slot(stride * out_height + 70, 0xa5);
      converter.convert(in, width, height, turn, integer_map(map, {8, 8, 8}),
                        {slot.data(), stride});
      for (std::uint32_t y = 0; y < out_height; ++y) {
        for (std::uint32_t x = 0; x < out_width; ++x) {
          const std::uint32_t column = turn.reverse_columns ? out_width - 1 - x : x;
          const std::uint32_t row = turn.reverse_rows ? out_height - 1 - y : y;
          const std::size_t at = turn.transpose ? std::size_t{column} * width + row
                                                : std::size_t{row} * width + column;
          for (std::size_t o = 0; o < outputs; ++o) {
            double want = map.offset[o];
            for (std::size_t i = 0; i < inputs; ++i) {
              want += map.factor[o][i] * samples[i].values[at] / 256;
            }
            ASSERT_NEAR(slot[y * stride + x * outputs + o], std::clamp(want, 0.0, 255.0), 0.6)
                << kernel_target() << " " << width << "x" << height << " at " << x << ", " << y;
          }
        }
        for (std::size_t x = out_width * outputs; x < stride; ++x) {
          ASSERT_EQ(slot[y * stride + x], 0xa5);
        }
      }
      for (std::size_t i = stride * out_height; i < slot.size(); ++i) ASSERT_EQ(slot[i], 0xa5);
    }
  }
}

// Flat pictures stay flat and exact, at any ratio that the filters take: the products' rounding
// does not add up.
TEST(StripKernels, FlatPicturesStayFlat) {
  AffineMap map;
  map.inputs = map.outputs = 1;
  map.factor[0][0] = 1;
  StripConverter converter;
  for (const std::uint32_t side : {1U, 2U, 60U, 64U, 100U, 500U, 1000U, 2000U}) {
    for (const int value : {0, 1, 16, 31, 127, 128, 235, 254, 255}) {
      const std::vector<std::uint8_t> source(std::size_t{side} * side,
                                             static_cast<std::uint8_t>(value));
      const StripInput input{{source.data(), static_cast<std::ptrdiff_t>(side), side, side, 1, 8},
                             {0, 0, static_cast<double>(side), static_cast<double>(side)}};
      for (const std::uint32_t to : {1U, 16U, 33U, 64U, 224U}) {
        if (!StripConverter::takes(input.region, to, to)) continue;
        std::vector<std::uint8_t> slot(std::size_t{to} * to);
        converter.convert({&input, 1}, to, to, {}, integer_map(map, {8, 8, 8}), {slot.data(), to});
        for (const std::uint8_t got : slot) {
          ASSERT_EQ(got, value) << side << " to " << to;
        }
      }
    }
  }
}

// Samples in words: as bright as they get, where rounding must not go over the top.
TEST(StripKernels, FlatPicturesOfManyBitsStayFlat) {
  StripConverter converter;
  for (const int depth : {10, 12, 16}) {
    const int most = (1 << depth) - 1;
    AffineMap map;
    map.inputs = map.outputs = 1;
    map.factor[0][0] = std::ldexp(1, 8 - depth);
    for (const std::uint32_t side : {1U, 64U, 100U, 500U, 1000U}) {
      for (const int value : {0, 1, most / 3, most / 2, most - 1, most}) {
        const std::vector<std::uint16_t> source(std::size_t{side} * side,
                                                static_cast<std::uint16_t>(value));
        const StripInput input{{reinterpret_cast<const std::uint8_t*>(source.data()),
                                static_cast<std::ptrdiff_t>(side) * 2, side, side, 2, depth},
                               {0, 0, static_cast<double>(side), static_cast<double>(side)}};
        for (const std::uint32_t to : {1U, 16U, 64U, 223U}) {
          if (!StripConverter::takes(input.region, to, to)) continue;
          std::vector<std::uint8_t> slot(std::size_t{to} * to);
          converter.convert({&input, 1}, to, to, {}, integer_map(map, {depth, depth, depth}),
                            {slot.data(), to});
          const double want = std::min(255.0, std::ldexp(value, 8 - depth));
          for (const std::uint8_t got : slot) {
            ASSERT_NEAR(got, want, 0.65) << depth << " bits, " << side << " to " << to;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace shardreel
