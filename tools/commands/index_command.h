#pragma once
// `shardreel index`: the indexes of shards, and the companion indexes of other readers.

#include <cstdint>
#include <string>
#include <vector>

#include "tools/commands/index_build.h"

namespace CLI {
class App;
}

namespace shardreel::tools {

struct IndexCommand {
  std::vector<std::string> urls;  ///< shards, see shard_url.h
  IndexBuildOptions build;
  std::uint32_t jobs = 0;  ///< shards at once; 0 = one a processor
  std::string format;      ///< empty = shardreel's own, else `energon`, `dali` or `wids`
  bool json = false;
};

/// Add URLS... and the flags. `command` must outlive the parsing.
void add_index_flags(CLI::App& app, IndexCommand& command);

/// Bring the indexes up to date (or, with `check`, say which are not), several shards at once;
/// every file appears whole or not at all, and its bytes do not depend on `jobs`. Returns 0 when
/// every shard has a fresh index in the end (videos that cannot be read are recorded in it, counted
/// and printed), 1 when one has not, 2 for options without a meaning, 128 + N after signal N.
int run_index(const IndexCommand& command);

}  // namespace shardreel::tools
