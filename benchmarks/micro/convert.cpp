// What does it cost to turn a decoded frame into a 224x224 slot, on one core, on the machine's best
// instruction set and on lesser ones, and what would zimg take for scaling alone? Decoding a frame
// of 340x256 takes some 250-400 us; conversion should be a small part of that. Compare within one
// run:
//   bench_convert --benchmark_repetitions=7 --benchmark_enable_random_interleaving=true

#include <benchmark/benchmark.h>
#include <hwy/targets.h>

#include <array>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <vector>

#include "loader/media/av_handles.h"
#include "loader/media/frame_converter.h"
#include "loader/media/plane_scaler.h"
#include "loader/media/strip_kernels.h"

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
enum class Path { kBest, kAvx2, kSse4 };

/// Makes the kernels run on these targets of Highway (0: all).
void use_targets(std::int64_t targets) {
  hwy::SetSupportedTargetsForTest(targets);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

void convert(benchmark::State& state, AVPixelFormat format, ColorMode color, Variant variant,
             Path path = Path::kBest) {
  const auto width = static_cast<int>(state.range(0)), height = static_cast<int>(state.range(1));
  TransformOptions options;
  options.color = color;
  options.crop = variant == Variant::kNewCropPerClip ? CropMode::kRandom : CropMode::kCenter;
  const auto frame = noise_frame(format, width, height);
  const auto converter = make_frame_converter(options);
  const std::int64_t target = path == Path::kAvx2   ? HWY_AVX2
                              : path == Path::kSse4 ? HWY_SSE4
                                                    : hwy::SupportedTargets();
  if ((hwy::SupportedTargets() & target) == 0) return state.SkipWithError("not on this machine");
  use_targets(target);
  state.SetLabel(kernel_target());
  // Slots are far more than a cache holds, as in a shuffle buffer.
  constexpr std::size_t kSlotsBytes = std::size_t{512} << 20;
  const std::size_t slot_size = slot_bytes(options), slots = kSlotsBytes / slot_size;
  std::vector<std::byte> memory(slots * slot_size);
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
    const auto slot = std::span(memory).subspan(frames % slots * slot_size, slot_size);
    if (!converter->convert(*frame, geometry, slot)) state.SkipWithError("not converted");
    benchmark::DoNotOptimize(slot.data());
    ++frames;
  }
  use_targets(0);
  state.counters["scratch_bytes"] = static_cast<double>(converter->scratch_bytes());
}

/// The control: zimg scales the three components to 16-bit planes with the same filter. Colour,
/// rounding and interleaving would come on top.
void zimg_planes(benchmark::State& state, AVPixelFormat format) {
  const auto width = static_cast<int>(state.range(0)), height = static_cast<int>(state.range(1));
  const auto frame = noise_frame(format, width, height);
  const auto layout = pixel_layout(format);
  const FrameGeometry geometry = frame_geometry(static_cast<std::uint32_t>(width),
                                                static_cast<std::uint32_t>(height), {}, {}, {});
  PlaneScaler scaler;
  std::array<Plane, 3> planes;
  for (auto _ : state) {
    for (int c = 0; c < 3; ++c) {
      const double factor = c == 0 ? 1 : 2, shift = c == 0 ? 0 : 0.25;  // chroma is on the left
      Plane& plane = planes[static_cast<std::size_t>(c)];
      plane.resize(geometry.scaled_width, geometry.scaled_height);
      const auto scaled =
          scaler.scale(ComponentRows(*frame, *layout, c),
                       {geometry.crop_x / factor + shift, geometry.crop_y / factor,
                        geometry.crop_width / factor, geometry.crop_height / factor},
                       plane);
      if (!scaled) state.SkipWithError("not scaled");
      benchmark::DoNotOptimize(plane.row(0));
    }
  }
}

void sizes(benchmark::internal::Benchmark* b) {
  b->Args({340, 256})->Args({1280, 720})->Args({1920, 1080})->Unit(benchmark::kMicrosecond);
}

constexpr auto kRgb = ColorMode::kRgb;
BENCHMARK_CAPTURE(convert, rgb, AV_PIX_FMT_YUV420P, kRgb, Variant::kPlain)->Apply(sizes);
BENCHMARK_CAPTURE(convert, rgb_avx2, AV_PIX_FMT_YUV420P, kRgb, Variant::kPlain, Path::kAvx2)
    ->Apply(sizes);
BENCHMARK_CAPTURE(convert, rgb_sse4, AV_PIX_FMT_YUV420P, kRgb, Variant::kPlain, Path::kSse4)
    ->Apply(sizes);
BENCHMARK_CAPTURE(zimg_planes, 8bit, AV_PIX_FMT_YUV420P)->Apply(sizes);
BENCHMARK_CAPTURE(zimg_planes, 10bit, AV_PIX_FMT_YUV420P10LE)->Apply(sizes);
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
