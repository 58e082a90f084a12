// The kernel as nvcc compiles and launches it, with a host body on the fake runtime.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "loader/device/device_registry.h"
#include "tests/support/device_picture.h"
#include "tests/support/fakecuda/kernels.h"
#include "tests/support/test_frame.h"

namespace shardreel {
namespace {

TEST(ConvertPixels, TheLaunchedKernelWritesTheWholeSlot) {
  fakecuda::set_kernels();
  for (const auto& [width, height] : {std::pair{64U, 48U}, {33U, 9U}, {5U, 4U}, {257U, 40U}}) {
    for (const DType dtype : {DType::kUint8, DType::kFloat16}) {
      fakecuda::configure({2, 1 << 24, 50});
      TransformOptions options;
      options.width = width;
      options.height = height;
      options.dtype = dtype;
      options.resize_mode = ResizeMode::kFit;
      auto frame = testing::make_frame("nv12", 60, 44, testing::Content::kPicture, width);
      const FrameGeometry geometry = frame_geometry(60, 44, {1, false}, options, {});
      std::vector<std::uint8_t> want(slot_bytes(options) * element_bytes(dtype));
      testing::run_here(
          testing::HostPicture::make(*frame, geometry, options).jobs(*frame, {want.data(), 0, 1}));
      {
        auto device = open_device({DeviceKind::kCuda, 1}).value();
        EXPECT_EQ(testing::convert_on(*device, *frame, geometry, options, want.size()), want);
      }
      EXPECT_THAT(fakecuda::take_misuse(), ::testing::IsEmpty());
      EXPECT_EQ(fakecuda::live(), 0U);
    }
  }
}

TEST(ConvertPixels, ASlotOutsideOfABlockIsRefused) {
  fakecuda::configure({1, 1 << 24, 0});
  fakecuda::set_kernels();
  auto device = open_device({DeviceKind::kCuda, 0}).value();
  auto stream = device->make_stream().value();
  auto block = device->allocate(100 * 100 * 3 - 1, stream).value();
  PixelJob job;
  job.width = job.height = 100;
  job.pixel_step = 3;
  job.row_step = 300;
  job.channel_step = 1;
  job.slot = block.data();
  auto refused = stream->convert(job);
  ASSERT_FALSE(refused);
  EXPECT_EQ(fault_of(refused.error()), DeviceFault::kInvalid);
}

}  // namespace
}  // namespace shardreel
