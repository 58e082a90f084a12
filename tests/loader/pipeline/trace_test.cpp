// The stages as a profiler sees them: a tool of our own takes NVTX's place for one, and what it
// counted is compared with what the loader did.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "loader/base/trace_range.h"
#include "shardreel/loader.h"
#include "shardreel/units.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/fakecuda/fakecuda.h"

namespace shardreel {
namespace {

/// NVTX looks for a tool once, when the process uses it first.
void* tool() {
  static void* const library = [] {
    setenv("NVTX_INJECTION64_PATH", SHARDREEL_TRACE_TOOL, 1);
    return dlopen(SHARDREEL_TRACE_TOOL, RTLD_NOW | RTLD_LOCAL);
  }();
  return library;
}
template <typename F>
F* ask(const char* name) {
  auto* function = reinterpret_cast<F*>(dlsym(tool(), name));
  if (function == nullptr) throw std::runtime_error(dlerror());
  return function;
}
int count(const char* name) { return ask<int(const char*)>("trace_tool_count")(name); }

class Trace : public testing::NumberedShardsTest {
 protected:
  void SetUp() override { ASSERT_NE(tool(), nullptr) << dlerror(); }
  void TearDown() override {
    EXPECT_EQ(ask<int()>("trace_tool_open")(), 0) << "ranges that did not end";
    EXPECT_EQ(ask<int()>("trace_tool_misuse")(), 0);
  }
};

TEST_F(Trace, RangesLieWithinEachOtherInTheirThread) {
  {
    const TraceRange outer("outer");
    std::jthread([] { const TraceRange other("elsewhere"); }).join();
    const TraceRange inner("inner");
  }
  EXPECT_EQ(count("inner in outer"), 1);
  EXPECT_EQ(count("elsewhere"), 1);
  EXPECT_EQ(count("elsewhere in outer"), 0) << "another thread's";
  EXPECT_STREQ(ask<const char*()>("trace_tool_domain")(), "shardreel");
}

TEST_F(Trace, EveryStageOfALoaderIsSeen) {
  fakecuda::configure({1, 1_GiB, 20});
  LoaderOptions options = testing::small_options(shards_->paths);
  options.resource.devices = {"cuda:0"};
  options.resource.gpu_memory_reserve = "64MiB";
  const char* const stages[] = {"consumer wait", "read",  "demux",   "decode",
                                "convert",       "batch", "shuffle", "upload"};
  std::map<std::string, int> before;
  for (const char* stage : stages) before[stage] = count(stage);
  int calls = 0, batches = 0;
  Metrics metrics;
  {
    Loader loader = Loader::open(options);
    for (bool over = false; !over; ++calls) {
      const auto batch = loader.next();
      over = !batch;
      batches += batch ? 1 : 0;
    }
    loader.stop();
    metrics = loader.metrics();
  }
  std::map<std::string, int> seen;
  for (const char* stage : stages) seen[stage] = count(stage) - before[stage];
  const auto clips = static_cast<int>(metrics.clips);
  EXPECT_EQ(seen["consumer wait"], calls);
  EXPECT_EQ(seen["upload"], batches);
  EXPECT_EQ(seen["batch"], clips) << "one collation a clip";
  EXPECT_EQ(seen["shuffle"], clips) << "each enters once";
  EXPECT_EQ(seen["convert"], static_cast<int>(metrics.frames)) << "windows do not overlap";
  EXPECT_GE(seen["read"], 20) << "a step a sample, and the ends";
  EXPECT_GE(seen["demux"], 2 * 20) << "each is opened, and cut";
  EXPECT_GE(seen["decode"], 20);
  EXPECT_EQ(count("convert in decode"), count("convert"));
}

}  // namespace
}  // namespace shardreel
