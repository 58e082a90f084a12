#pragma once
// Which files make which samples: the part of `shardreel pack` that looks at names only.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shardreel::tools {

struct Refused {
  std::string path;
  std::string reason;
};

/// A video and its sidecars, found but not opened.
struct FoundSample {
  std::string video;
  std::string key;
  std::vector<std::pair<std::string, std::string>> files;  ///< field, path; the video among them
};

struct FoundFiles {
  std::vector<FoundSample> samples;
  std::vector<Refused> refused;
  std::uint64_t ignored = 0;  ///< files that belong to no video
};

/// Add the samples of all folders below `root`. Links to folders are not followed; a folder that
/// cannot be read is refused.
void find_in_tree(const std::string& root, FoundFiles& found);

/// Add one video with its sidecars; its key is its file name without the extension.
void find_file(const std::string& file, FoundFiles& found);

}  // namespace shardreel::tools
