#pragma once
// `shardreel inspect`: what is in shards.

#include <cstdint>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace shardreel::tools {

struct InspectCommand {
  std::vector<std::string> shards;  ///< URLs and patterns
  bool json = false;                ///< one JSON object a sample, one a line
  bool hash = false;                ///< SHA-256 of every field
  bool video = true;                ///< open the videos; false lists names and sizes only
  std::uint64_t limit = 0;          ///< samples to look at; 0 = all
  std::string integrity = "strict";
  std::string index_dir;
  std::string sample, extract;  ///< a key, and a field that is written to standard output
  std::string frames, at = "0", png;
  std::string contact_sheet;
  std::uint32_t thumbnails = 8;
  std::string sample_aspect = "ignore";  ///< of pictures; the option of `feed`
};

/// Add the flags. `command` must outlive the parsing.
void add_inspect_flags(CLI::App& app, InspectCommand& command);

/// Return the exit status: 0 good, 1 when something cannot be read or is not there, 2 usage,
/// 128 + N after signal N.
int run_inspect(const InspectCommand& command);

}  // namespace shardreel::tools
