#pragma once
// One sentence that names the slowest stage.

#include <cstddef>
#include <string>

#include "shardreel/metrics.h"
#include "shardreel/options.h"

namespace shardreel {

/// E.g. "the consumer waited 3 % of the time: it is slower than the loader". Pure.
std::string verdict(const Metrics& metrics, const LoaderOptions& options, std::size_t lanes);

}  // namespace shardreel
