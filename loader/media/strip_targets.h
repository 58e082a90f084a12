#pragma once
// What the strip kernels are compiled for: the portable baseline, SSE4, AVX2, AVX-512 (x86) and
// NEON. Comes before Highway in each of their sources.

// SSSE3 and the second AVX-512 would only add compile time; vectors of unknown length do not fit
// the transposes.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV | HWY_SCALAR)
// Highway 1.0.3 gives up its portable target with g++ before 12.3 for a fault of some operation;
// the tests compare every target's bytes, and its other one, without blocks of 128 bits, does not
// fit.
#undef HWY_BROKEN_EMU128
#define HWY_BROKEN_EMU128 0
