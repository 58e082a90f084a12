// What naming a scope for a profiler costs while there is none.
#include <benchmark/benchmark.h>

#include "loader/base/trace_range.h"

static void one_range(benchmark::State& state) {
  for (auto _ : state) {
    const shardreel::TraceRange range("a stage");
    benchmark::ClobberMemory();
  }
}
BENCHMARK(one_range);
