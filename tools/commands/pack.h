#pragma once
// `shardreel pack`: videos, with the files beside them, into tar shards.

#include <string>

#include "tools/pack/pack_options.h"

namespace CLI {
class App;
}

namespace shardreel::tools {

/// Add INPUTS... and the flags. `options` must outlive the parsing.
void add_pack_flags(CLI::App& app, PackOptions& options);

/// Pack (or finish, or only plan) as the options say; docs/packing.md tells what that means.
///
/// Prints a summary or one JSON object to standard output; refused inputs, progress and problems to
/// standard error. Returns 0 when shards were written (a task's share may be empty), 1 when none
/// were or the run failed, 2 for options without a meaning, 128 + N after signal N. A run that
/// failed or was killed goes on when the same command is run again.
///
/// With `last_step` the journal of a run that ended well is not deleted but named there: the caller
/// deletes it as the last thing before the process ends, because a run that is killed behind it
/// would find a finished set in its way.
int run_pack(const PackOptions& options, std::string* last_step = nullptr);

}  // namespace shardreel::tools
