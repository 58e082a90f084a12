// What does it cost to turn a decoded frame into a 224x224 slot, on one core? Decoding a frame of
// 340x256 takes some 250-400 us; conversion should be a small part of that.

#include <benchmark/benchmark.h>

#include <random>
#include <stdexcept>
#include <vector>

#include "loader/media/av_handles.h"
#include "loader/media/frame_converter.h"

namespace shardreel {
namespace {

AVFramePtr noise_frame(AVPixelFormat format, int width, int height) {
  AVFramePtr frame(av_frame_alloc());
  frame->format = format;
  frame->width = width;
  frame->height = height;
  if (av_frame_get_buffer(frame.get(), 0) < 0) throw std::runtime_error("no memory for a frame");
  std::mt19937 random(1);
  for (const AVBufferRef* buffer : frame->buf) {
    if (buffer == nullptr) continue;
    for (std::size_t i = 0; i < buffer->size; ++i) {
      buffer->data[i] =
          static_cast<std::uint8_t>(random() % (format == AV_PIX_FMT_YUV420P ? 256 : 4));
    }
  }
  return frame;
}

enum class Variant { kPlain, kFlipped, kTurned, kNewCropPerClip };

void convert(benchmark::State& state, AVPixelFormat format, ColorMode color, Variant variant) {
  const auto width = static_cast<int>(state.range(0)), height = static_cast<int>(state.range(1));
  TransformOptions options;
  options.color = color;
  options.crop = variant == Variant::kNewCropPerClip ? CropMode::kRandom : CropMode::kCenter;
  const auto frame = noise_frame(format, width, height);
  const auto converter = make_frame_converter(options);
  std::vector<std::byte> slot(slot_bytes(options));
  TransformDraws draws;
  draws.flip = variant == Variant::kFlipped;
  const Orientation orientation{variant == Variant::kTurned ? 1U : 0U, false};
  std::uint64_t frames = 0;
  for (auto _ : state) {
    constexpr std::uint64_t kFramesPerClip = 16;
    if (variant == Variant::kNewCropPerClip && frames % kFramesPerClip == 0) {
      draws.crop_x = static_cast<double>(frames / kFramesPerClip % 1000) / 1000;
    }
    const FrameGeometry geometry =
        frame_geometry(static_cast<std::uint32_t>(width), static_cast<std::uint32_t>(height),
                       orientation, options, draws);
    if (!converter->convert(*frame, geometry, slot)) state.SkipWithError("not converted");
    benchmark::DoNotOptimize(slot.data());
    ++frames;
  }
  state.counters["scratch_bytes"] = static_cast<double>(converter->scratch_bytes());
}

void sizes(benchmark::internal::Benchmark* b) {
  b->Args({340, 256})->Args({1280, 720})->Args({1920, 1080})->Unit(benchmark::kMicrosecond);
}

constexpr auto kRgb = ColorMode::kRgb;
BENCHMARK_CAPTURE(convert, rgb, AV_PIX_FMT_YUV420P, kRgb, Variant::kPlain)->Apply(sizes);
BENCHMARK_CAPTURE(convert, rgb_10bit, AV_PIX_FMT_YUV420P10LE, kRgb, Variant::kPlain)->Apply(sizes);
BENCHMARK_CAPTURE(convert, rgb_nv12, AV_PIX_FMT_NV12, kRgb, Variant::kPlain)->Apply(sizes);
BENCHMARK_CAPTURE(convert, rgb_flip, AV_PIX_FMT_YUV420P, kRgb, Variant::kFlipped)->Apply(sizes);
BENCHMARK_CAPTURE(convert, rgb_rotate, AV_PIX_FMT_YUV420P, kRgb, Variant::kTurned)->Apply(sizes);
BENCHMARK_CAPTURE(convert, rgb_new_crop_per_16, AV_PIX_FMT_YUV420P, kRgb, Variant::kNewCropPerClip)
    ->Apply(sizes);
BENCHMARK_CAPTURE(convert, gray, AV_PIX_FMT_YUV420P, ColorMode::kGray, Variant::kPlain)
    ->Apply(sizes);
BENCHMARK_CAPTURE(convert, yuv420, AV_PIX_FMT_YUV420P, ColorMode::kYuv420, Variant::kPlain)
    ->Apply(sizes);

}  // namespace
}  // namespace shardreel
