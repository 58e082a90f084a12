// Frames in a device's memory, brought down to their slots: the pixels are those of the arithmetic
// that devices run, however many slots wait.
#include "loader/media/device_frame_converter.h"

#include <gtest/gtest.h>

#include "loader/device/host_device.h"
#include "tests/support/device_picture.h"
#include "tests/support/test_frame.h"
#include "tests/support/virtual_gpu.h"

namespace shardreel {
namespace {

TransformOptions small(ColorMode color) {
  TransformOptions options;
  options.width = 20;
  options.height = 14;
  options.color = color;
  options.dtype = DType::kFloat32;  // clips are bytes whatever batches are
  options.layout = Layout::kCthw;
  return options;
}

TEST(DeviceFrameConverter, GivesWhatTheDevicesArithmeticGives) {
  auto device = HostDevice::make(0, {1 << 26, true});
  auto stream = device->make_stream().value();
  for (const ColorMode color : {ColorMode::kRgb, ColorMode::kGray, ColorMode::kYuv420}) {
    const TransformOptions options = small(color);
    TransformOptions of_clips = options;
    of_clips.dtype = DType::kUint8;
    of_clips.layout = Layout::kThwc;
    auto converter =
        make_device_frame_converter(device, stream, &testing::virtual_gpu_layout, options, 3)
            .value();
    const std::size_t bytes = slot_bytes(options);
    std::vector<std::vector<std::byte>> slots(24, std::vector<std::byte>(bytes));
    std::vector<std::vector<std::byte>> want(slots.size(), std::vector<std::byte>(bytes));
    for (std::size_t i = 0; i < slots.size(); ++i) {
      // More crops than are kept, and formats in turn.
      const char* format = i % 3 == 0 ? "yuv420p10le" : "nv12";
      auto frame = testing::make_frame(format, 60, 44, testing::Content::kPicture, i);
      TransformDraws draws;
      draws.crop_x = static_cast<double>(i % 11) / 11;
      TransformOptions cropped = options;
      cropped.crop = CropMode::kRandom;
      const FrameGeometry geometry =
          frame_geometry(60, 44, {i % 2 == 0 ? 0U : 1U, false}, cropped, draws);
      testing::run_here(testing::HostPicture::make(*frame, geometry, of_clips)
                            .jobs(*frame, {want[i].data(), 0, 1}));
      const auto there = testing::frame_on_device(*device, stream, *frame).value();
      ASSERT_TRUE(converter->convert(*there, geometry, slots[i]));
    }
    EXPECT_TRUE(converter->writes_later());
    ASSERT_TRUE(converter->finish());
    EXPECT_FALSE(converter->writes_later());
    EXPECT_EQ(slots, want);
  }
  stream->synchronize().value();
  EXPECT_EQ(device->allocated_bytes(), 0U);
}

TEST(DeviceFrameConverter, TakesFramesOfTheHostAtOnce) {
  auto device = HostDevice::make(0);
  auto stream = device->make_stream().value();
  const TransformOptions options = small(ColorMode::kRgb);
  auto converter =
      make_device_frame_converter(device, stream, &testing::virtual_gpu_layout, options, 3).value();
  auto frame = testing::make_frame("yuv420p", 60, 44, testing::Content::kPicture, 1);
  const FrameGeometry geometry = frame_geometry(60, 44, {}, options, {});
  std::vector<std::byte> slot(slot_bytes(options)), want(slot.size());
  ASSERT_TRUE(converter->convert(*frame, geometry, slot));
  EXPECT_FALSE(converter->writes_later());
  ASSERT_TRUE(make_frame_converter(options)->convert(*frame, geometry, want));
  EXPECT_EQ(slot, want);
}

TEST(DeviceFrameConverter, NoMemoryIsAnErrorAtTheStartAndLater) {
  auto device = HostDevice::make(0, {1 << 20, true});
  auto stream = device->make_stream().value();
  const TransformOptions options = small(ColorMode::kRgb);
  auto refused =
      make_device_frame_converter(device, stream, &testing::virtual_gpu_layout, options, 10000);
  ASSERT_FALSE(refused);
  EXPECT_EQ(fault_of(refused.error()), DeviceFault::kOutOfMemory);

  auto converter =
      make_device_frame_converter(device, stream, &testing::virtual_gpu_layout, options, 3).value();
  auto frame = testing::make_frame("nv12", 60, 44, testing::Content::kPicture, 1);
  const auto there = testing::frame_on_device(*device, stream, *frame).value();
  std::vector<std::byte> slot(slot_bytes(options));
  const FrameGeometry geometry = frame_geometry(60, 44, {}, options, {});
  for (const std::uint64_t nth : {1U, 2U}) {  // the filters' upload, the filters
    device->fail_allocation(nth);
    auto failed = converter->convert(*there, geometry, slot);
    ASSERT_FALSE(failed) << nth;
    EXPECT_EQ(failed.error().code, ErrorCode::kMemory);
  }
  device->fail_allocation(0);
  EXPECT_TRUE(converter->convert(*there, geometry, slot)) << "and it goes on afterwards";
  EXPECT_TRUE(converter->finish());
}

}  // namespace
}  // namespace shardreel
