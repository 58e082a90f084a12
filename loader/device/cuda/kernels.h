#pragma once
// The kernels: a frame that the decoder left in device memory into its slot, a clip into its place
// in a batch.

#include <cuda_runtime_api.h>

#include "loader/device/collate_job.h"
#include "loader/device/pixel_job.h"

namespace shardreel::cuda {

/// Load them to the current device now: by themselves they would be at the first launch, when there
/// may be no memory left. Fails where they were not built for the device.
cudaError_t load_kernels();

/// Put the work into the stream's line. The device of the stream is current.
cudaError_t launch_convert_pixels(const PixelJob& job, cudaStream_t stream);
cudaError_t launch_collate_clip(const CollateJob& job, cudaStream_t stream);

}  // namespace shardreel::cuda
