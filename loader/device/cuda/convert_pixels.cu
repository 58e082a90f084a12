#include "loader/device/cuda/convert_pixels.h"

namespace shardreel::cuda {

// A warp writes 32 pixels side by side: its reads of source rows and its writes lie together.
constexpr int kBlockWidth = 32, kBlockHeight = 8;

__global__ void convert_pixels(PixelJob job) {
  const auto x = static_cast<std::int32_t>(blockIdx.x * kBlockWidth + threadIdx.x);
  const auto y = static_cast<std::int32_t>(blockIdx.y * kBlockHeight + threadIdx.y);
  if (x < job.width && y < job.height) convert_pixel(job, x, y);
}

cudaError_t launch_convert_pixels(const PixelJob& job, cudaStream_t stream) {
  const dim3 block(kBlockWidth, kBlockHeight);
  const dim3 grid(static_cast<unsigned>((job.width + kBlockWidth - 1) / kBlockWidth),
                  static_cast<unsigned>((job.height + kBlockHeight - 1) / kBlockHeight));
  convert_pixels<<<grid, block, 0, stream>>>(job);
  return cudaGetLastError();
}

}  // namespace shardreel::cuda
