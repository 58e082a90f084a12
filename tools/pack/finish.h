#pragma once
// `shardreel pack --finish`: the work of several tasks becomes one dataset.

#include <string>

#include "tools/pack/report.h"

namespace shardreel::tools {

/// Merge what the tasks' journals in `directory` tell, check it, and write dataset.json. Checked:
/// every task is there once and done, of the same run; their shards are there with their sizes, and
/// none else; every input was packed or refused by exactly one task; no key stands twice in the
/// shards. The journals are deleted then. A folder that is finished already gives its manifest's
/// shards.
Result<Outcome> finish_tasks(const std::string& directory);

}  // namespace shardreel::tools
