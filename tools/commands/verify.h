#pragma once
// `shardreel verify`: what is wrong with shards.

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "shardreel/error.h"
#include "shardreel/shard_url.h"
#include "tools/commands/verify_report.h"

namespace CLI {
class App;
}

namespace shardreel::tools {

struct VerifyCommand {
  std::vector<std::string> shards;  ///< URLs and patterns
  bool deep = false;                ///< decode every frame of every video
  std::uint32_t jobs = 0;           ///< threads that look into samples; 0 = one a processor
  std::string fail_on = "warning";  ///< or "error": what makes the exit status 1
  std::vector<std::string> video_fields = InputOptions().video_fields;
  std::string manifest, index_dir;  ///< empty = beside the shards
  std::string repair;               ///< folder of the repaired shards; empty = none
  std::string spool_dir;
  bool json = false;
};

/// Add the flags. `command` must outlive the parsing.
void add_verify_flags(CLI::App& app, VerifyCommand& command);

/// Look at everything. Only what keeps the check itself from going on is an error (kInvalidOption
/// for options without a meaning); what is wrong with the data is in the outcome. When `stop` asks,
/// the outcome is that of what was looked at.
Result<VerifyOutcome> verify_shards(const VerifyCommand& command, const ShardList& shards,
                                    const std::stop_token& stop);

/// Return the exit status: 0 nothing wrong, 1 something is (by `fail_on`), 2 usage, 128 + N after
/// signal N.
int run_verify(const VerifyCommand& command);

}  // namespace shardreel::tools
