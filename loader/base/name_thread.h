#pragma once
// Names of threads, for `top -H`, perf and debuggers.

#include <pthread.h>

namespace shardreel {

/// Name the calling thread; at most 15 characters count.
inline void name_thread(const char* name) noexcept {
#ifdef __linux__
  pthread_setname_np(pthread_self(), name);
#endif
}

}  // namespace shardreel
