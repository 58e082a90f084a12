#pragma once
// The loader's options on the command line: one flag for each row of the option table.

#include <string>
#include <utility>
#include <vector>

#include "shardreel/options.h"

namespace CLI {
class App;
}

namespace shardreel::tools {

/// What the command line said, before it is applied.
struct OptionFlags {
  std::vector<std::string> urls;
  std::string config;                                      ///< a JSON file; flags win over it
  std::vector<std::pair<std::string, std::string>> given;  ///< name and text, in the order given
};

/// Add URLS…, --config and a flag for each option. `flags` must outlive the parsing.
void add_option_flags(CLI::App& command, OptionFlags& flags);

/// Read the file and apply the flags. The error (kInvalidOption) has one problem a line.
Result<LoaderOptions> read_options(const OptionFlags& flags);

}  // namespace shardreel::tools
