#include "loader/memory/heap_trim.h"

#include <malloc.h>

#include <algorithm>

namespace shardreel {

void trim_heap() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

void TrimPacer::done(Clock::time_point now, Clock::duration took, std::uint64_t released) {
  pause_ =
      released < kWorthIt ? std::min<Clock::duration>(2 * pause_, kMost) : Clock::duration{kLeast};
  next_ = now + std::max(pause_, 1000 * took);
}

}  // namespace shardreel
