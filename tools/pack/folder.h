#pragma once
// The folder that shards are packed into: what belongs to a set in it, and whose turn it is.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shardreel/error.h"
#include "tools/pack/journal.h"

namespace shardreel::tools {

inline constexpr std::string_view kRefusedName = "refused.jsonl";

/// One of several tasks that pack into the same folder.
struct TaskName {
  std::uint32_t index = 0, count = 1;
};

/// The journal's name: ".shardreel-pack.journal", or ".shardreel-pack-0003-of-0016.journal".
std::string journal_name(const std::optional<TaskName>& task);

/// The task a journal's name stands for; nothing for other names.
std::optional<TaskName> task_of_journal(std::string_view name);

/// Whether `name` is that of a shard of the set with this prefix: prefix, six digits or more,
/// ".tar".
[[nodiscard]] bool is_shard_name(std::string_view name, std::string_view prefix) noexcept;

/// Names in the folder, sorted; none when it is missing.
Result<std::vector<std::string>> names_in(const std::string& directory);

/// An error unless the folder holds a file of this name and size.
Result<void> check_size(const std::string& directory, const std::string& name, std::uint64_t bytes);

/// Write a file whole or not at all: temporary name, fsync, rename, fsync of the folder.
Result<void> write_whole_file(const std::string& directory, const std::string& name,
                              std::string_view text);

struct FolderClaim {
  std::string directory;
  std::vector<std::string> prefixes;  ///< of the shards this run may write
  std::optional<TaskName> task;
  std::string header;  ///< the journal's first line: the run's identity
  bool overwrite = false;
};

/// Take the folder (made when missing) for one run and make it ready: the journal is open and holds
/// the header, temporaries of a killed run are gone, and no file is in the way of the shards. A run
/// with the same header goes on: the journal's further lines are what it had done.
///
/// Errors: another run holds it (kNotPermitted); shards, a manifest or another run's journal are in
/// the way (kIo) unless `overwrite`, which removes the set that is there.
Result<Journal> claim_folder(const FolderClaim& claim);

}  // namespace shardreel::tools
