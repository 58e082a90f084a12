#include "tools/pack/filter_library.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace shardreel::tools {
namespace {

/// What the kernel has mapped into this process.
std::string mapped() {
  std::ifstream file("/proc/self/maps");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(FilterLibrary, IsNotThereBeforeItIsAskedForAndStaysAfterwards) {
  ASSERT_EQ(mapped().find("libavfilter"), std::string::npos);
  const auto library = FilterLibrary::get();
  ASSERT_TRUE(library) << library.error().describe();
  EXPECT_NE(mapped().find("libavfilter"), std::string::npos);
  const auto again = FilterLibrary::get();
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, *library);
}

TEST(FilterLibrary, ItsFunctionsAreThoseOfTheHeaders) {
  const auto library = FilterLibrary::get();
  ASSERT_TRUE(library) << library.error().describe();
  const AVFilter* scale = (*library)->get_by_name("scale");
  ASSERT_NE(scale, nullptr);
  EXPECT_STREQ(scale->name, "scale");
  AVFilterGraph* graph = (*library)->graph_alloc();
  ASSERT_NE(graph, nullptr);
  EXPECT_EQ(graph->nb_filters, 0u);
  (*library)->graph_free(&graph);
  EXPECT_EQ(graph, nullptr);
}

TEST(FilterLibrary, OneThatIsNotInstalledIsNamed) {
  const auto library = FilterLibrary::load("libavfilter-of-nobody.so.1");
  ASSERT_FALSE(library);
  EXPECT_EQ(library.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(library.error().message.find("libavfilter-of-nobody.so.1"), std::string::npos);
}

TEST(FilterLibrary, OneThatLacksAFunctionSaysWhich) {
  const auto library = FilterLibrary::load("libc.so.6");
  ASSERT_FALSE(library);
  EXPECT_EQ(library.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(library.error().message.find("avfilter_get_by_name"), std::string::npos);
}

}  // namespace
}  // namespace shardreel::tools
