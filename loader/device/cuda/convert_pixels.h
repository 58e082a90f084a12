#pragma once
// The one kernel: a frame that the decoder left in device memory into its slot of a batch.

#include <cuda_runtime_api.h>

#include "loader/device/pixel_job.h"

namespace shardreel::cuda {

/// Put the conversion into the stream's line. The device of the stream is current.
cudaError_t launch_convert_pixels(const PixelJob& job, cudaStream_t stream);

}  // namespace shardreel::cuda
