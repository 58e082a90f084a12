#include "loader/device/cuda/kernels.h"

namespace shardreel::cuda {

// A warp writes 32 pixels side by side: its reads of source rows and its writes lie together.
constexpr int kBlockWidth = 32, kBlockHeight = 8;
constexpr int kCollateThreads = 256;

__global__ void convert_pixels(PixelJob job) {
  const auto x = static_cast<std::int32_t>(blockIdx.x * kBlockWidth + threadIdx.x);
  const auto y = static_cast<std::int32_t>(blockIdx.y * kBlockHeight + threadIdx.y);
  if (x < job.width && y < job.height) convert_pixel(job, x, y);
}

__global__ void collate_clip(CollateJob job) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kCollateThreads + threadIdx.x;
  if (at < job.frames * job.pixels) collate_pixel(job, at);
}

cudaError_t load_kernels() {
  cudaFuncAttributes attributes{};
  const cudaError_t first = cudaFuncGetAttributes(&attributes, convert_pixels);
  return first != cudaSuccess ? first : cudaFuncGetAttributes(&attributes, collate_clip);
}

cudaError_t launch_convert_pixels(const PixelJob& job, cudaStream_t stream) {
  const dim3 block(kBlockWidth, kBlockHeight);
  const dim3 grid(static_cast<unsigned>((job.width + kBlockWidth - 1) / kBlockWidth),
                  static_cast<unsigned>((job.height + kBlockHeight - 1) / kBlockHeight));
  convert_pixels<<<grid, block, 0, stream>>>(job);
  return cudaGetLastError();
}

cudaError_t launch_collate_clip(const CollateJob& job, cudaStream_t stream) {
  const auto blocks = (job.frames * job.pixels + kCollateThreads - 1) / kCollateThreads;
  collate_clip<<<static_cast<unsigned>(blocks), kCollateThreads, 0, stream>>>(job);
  return cudaGetLastError();
}

}  // namespace shardreel::cuda
