#pragma once
// Which files make which samples: the part of `shardreel pack` that looks at names only.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "shardreel/error.h"

namespace shardreel::tools {

/// An input that is not packed, and why.
struct Refusal {
  std::string path;
  std::string key;  ///< empty where it has none
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

/// A video and its sidecars, found but not opened.
struct PackItem {
  std::string video;
  std::string key;
  std::vector<std::pair<std::string, std::string>> files;  ///< field, path; the video first
  std::string columns;      ///< of its line in a manifest, as a JSON object; empty = none
  std::uint64_t bytes = 0;  ///< of all files, when they were listed
};

struct FoundItems {
  std::vector<PackItem> items;  ///< keys are unique, names fit a shard
  std::vector<Refusal> refused;
  std::uint64_t ignored = 0;  ///< files that belong to no video
};

/// Find the samples of all inputs, in their order. An input is a folder (walked, by path; links to
/// folders are not followed), a video, `@FILE` (a list: one path a line, relative to the current
/// folder), or a manifest FILE.jsonl or FILE.csv (column `path`, relative to the manifest; the
/// other columns become `columns`).
///
/// A video becomes a sample together with the files of its folder that have its name up to the
/// extension (a.mp4, a.json, a.seg.png). Its key is its path without the extension, dots in the
/// file's name written as `_`: below the input folder; for a single file its name alone; in lists
/// and manifests the path as written there, below `root` where it lies there, else without leading
/// "/" and "../".
///
/// Errors: an input that is missing, a list or manifest that cannot be read or understood (with the
/// line). What is wrong with one file is a refusal.
Result<FoundItems> find_inputs(const std::vector<std::string>& inputs, const std::string& root);

/// Whether the name has the extension of a video (the loader's `video_fields`).
[[nodiscard]] bool is_video_name(const std::string& file_name);

}  // namespace shardreel::tools
