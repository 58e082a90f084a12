#pragma once
// Host bodies for the loader's kernels on the fake runtime: what a launch does, thread by thread.

#include "loader/device/collate_job.h"
#include "loader/device/pixel_job.h"
#include "tests/support/fakecuda/fakecuda.h"

namespace fakecuda {

inline void set_kernels() {
  set_kernel("_ZN9shardreel4cuda14convert_pixelsENS_8PixelJobE",
             [](dim3 grid, dim3 block, void** arguments) {
               return [grid, block, job = *static_cast<const shardreel::PixelJob*>(arguments[0])] {
                 for (unsigned y = 0; y < grid.y * block.y; ++y) {
                   for (unsigned x = 0; x < grid.x * block.x; ++x) {
                     const auto column = static_cast<std::int32_t>(x);
                     const auto row = static_cast<std::int32_t>(y);
                     if (column < job.width && row < job.height)
                       shardreel::convert_pixel(job, column, row);
                   }
                 }
               };
             });
  set_kernel("_ZN9shardreel4cuda12collate_clipENS_10CollateJobE", [](dim3 grid, dim3 block,
                                                                     void** arguments) {
    return [grid, block, job = *static_cast<const shardreel::CollateJob*>(arguments[0])] {
      const std::int64_t threads = std::int64_t{grid.x} * block.x;
      for (std::int64_t at = 0; at < threads; ++at) {
        if (at < job.frames * job.pixels) shardreel::collate_pixel(job, at);
      }
    };
  });
}

}  // namespace fakecuda
