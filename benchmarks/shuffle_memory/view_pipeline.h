#pragma once
// The classic pipeline, only here to be measured: a video is decoded whole, its windows are views
// of it, and the shuffle buffer counts the views' bytes. One window keeps its whole video alive.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "shardreel/batch.h"
#include "shardreel/options.h"

namespace shardreel::bench {

/// Read, decode, slice, shuffle by nominal bytes and batch, in the calling thread. `batch` gets the
/// ids and the pixels of each batch; `held` the windows in the shuffle buffer after every video.
void run_view_pipeline(
    const LoaderOptions& options, std::uint64_t shuffle_bytes,
    const std::function<void(std::span<const ClipId>, std::span<const std::byte>)>& batch,
    const std::function<void(std::uint64_t windows)>& held);

}  // namespace shardreel::bench
