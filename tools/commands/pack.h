#pragma once
// `shardreel pack`: files and folders of videos into tar shards.

#include <cstdint>
#include <string>
#include <vector>

namespace shardreel::tools {

struct PackOptions {
  std::vector<std::string> inputs;  ///< files, and folders that are walked
  std::string out;                  ///< folder of the shards
  std::string prefix = "shard-";
  std::uint64_t shard_samples = 0, shard_bytes = 0;  ///< 0 = no bound
  bool overwrite = false;
  bool json = false;
};

/// A video becomes a sample together with the files of its folder that have its name up to the
/// extension (a.mp4, a.json, a.seg.png); its key is its path below the input folder without the
/// extension, dots in the file's name written as `_`. Samples are in the order of the inputs,
/// within a folder by path. Videos that are empty, unreadable or have a key that is taken are
/// refused: they are listed and the rest is packed.
///
/// Prints a summary or one JSON object to standard output, problems to standard error. Returns 0
/// when shards were written, 1 when none were or writing failed, 2 for options without a meaning.
int run_pack(const PackOptions& options);

}  // namespace shardreel::tools
