#include "loader/pipeline/resolve.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "loader/memory/process_memory.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

LoaderOptions resolved(const std::string& url, std::uint64_t ranks = 1) {
  LoaderOptions options;
  options.batch.rank = 0;
  options.batch.world_size = ranks;
  options.batch.ranks = RankMode::kExact;
  options.input.urls = {url};
  const auto found =
      resolve(options, [](std::string_view) -> std::optional<std::string> { return std::nullopt; });
  EXPECT_TRUE(found) << found.error().describe();
  return found ? found->options : options;
}

TEST(Resolve, ThePageCacheIsForDataThatFits) {
  const ScratchDir scratch;
  std::ofstream(scratch / "a-0.tar") << "some";
  std::ofstream(scratch / "b-0.tar").close();
  std::filesystem::resize_file(scratch / "b-0.tar", usable_memory() / 16);  // takes no room
  EXPECT_EQ(resolved(scratch / "a-{0..999}.tar").input.page_cache, PageCache::kKeep);
  EXPECT_EQ(resolved(scratch / "b-{0..7}.tar").input.page_cache, PageCache::kKeep);
  EXPECT_EQ(resolved(scratch / "b-{0..15}.tar").input.page_cache, PageCache::kDrop);
  // Ranks that share shards leave them to each other.
  EXPECT_EQ(resolved(scratch / "b-{0..15}.tar", 16).input.page_cache, PageCache::kDrop);
  EXPECT_EQ(resolved(scratch / "b-{0..15}.tar", 17).input.page_cache, PageCache::kKeep);
  EXPECT_EQ(resolved(scratch / "c-{0..15}.tar").input.page_cache, PageCache::kKeep);
  EXPECT_EQ(resolved("pipe:cat x").input.page_cache, PageCache::kKeep);
}

}  // namespace
}  // namespace shardreel::testing
