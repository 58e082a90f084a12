// The devices' arithmetic against the double-precision reference, and against the CPU's converter.
#include "loader/media/pixel_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "loader/device/host_device.h"
#include "loader/media/frame_converter.h"
#include "tests/support/device_picture.h"
#include "tests/support/pixel_reference.h"
#include "tests/support/scratch.h"
#include "tests/support/test_frame.h"

namespace shardreel {
namespace {

using testing::Content;
using testing::HostPicture;

std::vector<std::uint8_t> convert_here(const AVFrame& frame, const FrameGeometry& geometry,
                                       const TransformOptions& options) {
  std::vector<std::uint8_t> slot(slot_bytes(options), 77);
  testing::run_here(HostPicture::make(frame, geometry, options).jobs(frame, {slot.data(), 0, 1}));
  return slot;
}

std::vector<std::uint8_t> convert_on_cpu(const AVFrame& frame, const FrameGeometry& geometry,
                                         const TransformOptions& options) {
  std::vector<std::uint8_t> slot(slot_bytes(options));
  make_frame_converter(options)
      ->convert(frame, geometry, std::as_writable_bytes(std::span(slot)))
      .value();
  return slot;
}

struct Size {
  int width, height;
};

TEST(PixelPlan, IsWithinOneLevelOfTheReferenceInEveryCase) {
  std::uint64_t cases = 0, differing = 0, components = 0;
  std::uint64_t seed = testing::test_seed();
  for (const AVColorSpace space : {AVCOL_SPC_BT470BG, AVCOL_SPC_BT709, AVCOL_SPC_BT2020_NCL}) {
    for (const AVColorRange range : {AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG}) {
      for (const char* format : {"nv12", "p010le", "yuv420p", "yuv420p10le"}) {
        for (const Size size : {Size{96, 64}, Size{95, 61}}) {
          for (std::uint32_t turns = 0; turns < 4; ++turns) {
            for (const bool cropped : {false, true}) {
              ++seed;
              std::mt19937_64 random(seed);
              TransformOptions options;
              options.width = 20 + static_cast<std::uint32_t>(random() % 100);
              options.height = 20 + static_cast<std::uint32_t>(random() % 100);
              options.resize_mode = random() % 2 == 0 ? ResizeMode::kFit : ResizeMode::kShortSide;
              options.crop = cropped ? CropMode::kResized : CropMode::kCenter;
              options.color = random() % 4 == 0 ? ColorMode::kGray : ColorMode::kRgb;
              TransformDraws draws = draw_transform(options, seed, {0, 0, 0, cases});
              draws.flip = random() % 2 == 0;
              auto frame = testing::make_frame(
                  format, size.width, size.height,
                  random() % 3 == 0 ? Content::kNoise : Content::kPicture, seed);
              frame->colorspace = space;
              frame->color_range = range;
              const FrameGeometry geometry = frame_geometry(
                  static_cast<std::uint32_t>(size.width), static_cast<std::uint32_t>(size.height),
                  {turns, random() % 4 == 0}, options, draws);
              SCOPED_TRACE(::testing::Message()
                           << format << ' ' << size.width << 'x' << size.height << " space "
                           << space << " range " << range << " turns " << turns << " to "
                           << options.width << 'x' << options.height << " seed " << seed);
              const auto got = convert_here(*frame, geometry, options);
              const auto want = testing::reference_slot(*frame, geometry, options);
              const auto difference = testing::compare_pixels(got, want);
              ASSERT_LE(difference.largest, 1) << difference.describe();
              for (std::size_t i = 0; i < got.size(); ++i) differing += got[i] != want[i] ? 1 : 0;
              components += got.size();
              const auto cpu =
                  testing::compare_pixels(convert_on_cpu(*frame, geometry, options), got);
              ASSERT_TRUE(cpu.within_contract()) << "CPU against device: " << cpu.describe();
              ++cases;
            }
          }
        }
      }
    }
  }
  EXPECT_EQ(cases, 3U * 2 * 4 * 2 * 4 * 2);
  // Rounding of a float against a double: next to nothing.
  EXPECT_LT(static_cast<double>(differing), 0.001 * static_cast<double>(components));
  RecordProperty("cases", static_cast<int>(cases));
  RecordProperty("differing_per_million", static_cast<int>(differing * 1000000 / components));
}

TEST(PixelPlan, PlanesOfYuvToo) {
  for (const char* format : {"nv12", "p010le", "gray"}) {
    for (std::uint32_t turns = 0; turns < 4; ++turns) {
      TransformOptions options;
      options.color = ColorMode::kYuv420;
      options.width = 48;
      options.height = 36;
      options.resize_mode = ResizeMode::kFit;
      auto frame = testing::make_frame(format, 101, 53, Content::kPicture, turns);
      const FrameGeometry geometry = frame_geometry(101, 53, {turns, false}, options, {});
      const auto difference =
          testing::compare_pixels(convert_here(*frame, geometry, options),
                                  testing::reference_slot(*frame, geometry, options));
      EXPECT_LE(difference.largest, 1) << format << ' ' << turns << ' ' << difference.describe();
    }
  }
}

TEST(PixelPlan, TypesAndLayoutsAreThoseOfCollate) {
  constexpr std::uint32_t kFrames = 3;
  for (const DType dtype : {DType::kUint8, DType::kFloat16, DType::kFloat32}) {
    for (const Layout layout : {Layout::kThwc, Layout::kTchw, Layout::kCthw}) {
      for (const ColorMode color : {ColorMode::kRgb, ColorMode::kGray}) {
        TransformOptions options;
        options.width = 31;
        options.height = 17;
        options.color = color;
        std::vector<std::uint8_t> clip;
        TransformOptions wanted = options;
        wanted.dtype = dtype;
        wanted.layout = layout;
        if (dtype != DType::kUint8) {
          wanted.mean = {0.4};
          wanted.std = {0.25};
        }
        const std::size_t bytes = kFrames * slot_bytes(options);
        std::vector<std::byte> got(bytes * element_bytes(dtype)), want(got.size());
        for (std::uint32_t t = 0; t < kFrames; ++t) {
          auto frame = testing::make_frame("nv12", 64, 50, Content::kPicture, t);
          const FrameGeometry geometry = frame_geometry(64, 50, {}, options, {});
          const auto slot = convert_here(*frame, geometry, options);
          clip.insert(clip.end(), slot.begin(), slot.end());
          const auto picture = HostPicture::make(*frame, geometry, wanted);
          testing::run_here(picture.jobs(*frame, {got.data(), t, kFrames}));
        }
        collate_clip(std::as_bytes(std::span(clip)), wanted, kFrames, want);
        EXPECT_TRUE(got == want) << "dtype " << static_cast<int>(dtype) << ", layout "
                                 << static_cast<int>(layout);
      }
    }
  }
}

TEST(PixelPlan, TheFramesOwnCropAndRowsFromBelowAreHonoured) {
  TransformOptions options;
  options.width = 40;
  options.height = 30;
  for (const char* format : {"nv12", "p010le"}) {
    auto whole = testing::make_frame(format, 100, 80, Content::kPicture, 5);
    whole->crop_left = 10;
    whole->crop_top = 6;
    whole->crop_right = 4;
    whole->crop_bottom = 2;
    const FrameGeometry geometry = frame_geometry(86, 72, {}, options, {});
    const auto cpu = convert_on_cpu(*whole, geometry, options);
    const auto difference = testing::compare_pixels(convert_here(*whole, geometry, options), cpu);
    EXPECT_LE(difference.largest, 1) << format << ' ' << difference.describe();
  }
}

TEST(PixelPlan, OnAHostDeviceTheBytesAreTheSame) {
  auto device = HostDevice::make(0, {1 << 24, true});
  TransformOptions options;
  options.width = 50;
  options.height = 41;
  options.layout = Layout::kTchw;
  options.dtype = DType::kFloat32;
  auto frame = testing::make_frame("p010le", 77, 63, Content::kPicture, 3);
  const FrameGeometry geometry = frame_geometry(77, 63, {1, true}, options, {});
  std::vector<std::uint8_t> want(slot_bytes(options) * 4);
  testing::run_here(HostPicture::make(*frame, geometry, options).jobs(*frame, {want.data(), 0, 1}));
  EXPECT_EQ(testing::convert_on(*device, *frame, geometry, options, want.size()), want);
  EXPECT_EQ(device->allocated_bytes(), 0U);
}

TEST(PixelPlan, WhatItDoesNotTakeIsSaid) {
  TransformOptions options;
  options.width = 2;
  options.height = 2;
  for (const char* format : {"rgb24", "yuv420p10be", "monob", "pal8"}) {
    auto frame = testing::make_frame(format, 32, 32, Content::kPicture, 1);
    const auto layout = pixel_layout(frame->format).value();
    auto plan = PixelPlan::make(*frame, layout, frame_geometry(32, 32, {}, options, {}), options);
    ASSERT_FALSE(plan) << format;
    EXPECT_EQ(plan.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(plan.error().message, ::testing::HasSubstr(format));
  }
  auto large = testing::make_frame("nv12", 400, 300, Content::kPicture, 1);
  auto plan = PixelPlan::make(*large, pixel_layout(large->format).value(),
                              frame_geometry(400, 300, {}, options, {}), options);
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message, ::testing::HasSubstr("shrinks"));
}

}  // namespace
}  // namespace shardreel
