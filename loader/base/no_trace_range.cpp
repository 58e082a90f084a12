// In builds without CUDA's headers.
#include "loader/base/trace_range.h"

namespace shardreel {

TraceRange::TraceRange(const char*) noexcept {}
TraceRange::~TraceRange() = default;

}  // namespace shardreel
