#include "tools/commands/pack_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string_view>

#include "shardreel/options.h"

namespace shardreel::tools {
namespace {

namespace fs = std::filesystem;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

bool is_video(const std::string& file_name) {
  static const InputOptions defaults;
  const std::size_t dot = file_name.rfind('.');
  if (dot == std::string::npos || dot == 0) return false;
  const auto& known = defaults.video_fields;
  return std::find(known.begin(), known.end(), lower(file_name.substr(dot + 1))) != known.end();
}

/// The key's last part may have no dot, because the first dot ends it.
std::string key_of(const fs::path& folder, const std::string& stem) {
  std::string name = stem;
  std::replace(name.begin(), name.end(), '.', '_');
  const std::string parent = folder.generic_string();
  return parent.empty() || parent == "." ? name : parent + "/" + name;
}

/// Sort the files of one folder into samples. `below` is the folder as keys name it.
void add_folder(const fs::path& folder, const fs::path& below, std::vector<std::string> names,
                FoundFiles& found) {
  std::sort(names.begin(), names.end());
  std::map<std::string, std::size_t> by_stem;
  for (const std::string& name : names) {
    if (!is_video(name)) continue;
    const std::size_t dot = name.rfind('.');
    const std::string path = (folder / name).string();
    const auto [at, is_new] = by_stem.emplace(name.substr(0, dot), found.samples.size());
    if (!is_new) {
      found.refused.push_back(
          {path, fmt::format("'{}' has the same name and is packed; one video a sample",
                             found.samples[at->second].video)});
      continue;
    }
    found.samples.push_back(
        {path, key_of(below, at->first), {{lower(name.substr(dot + 1)), path}}});
  }
  for (const std::string& name : names) {
    if (is_video(name)) continue;
    // The longest stem wins: a.v2.json belongs to a.v2.mp4 where that exists, else to a.mp4.
    auto owner = by_stem.end();
    std::size_t dot = name.rfind('.');
    for (; dot != std::string::npos && dot > 0; dot = name.rfind('.', dot - 1)) {
      owner = by_stem.find(name.substr(0, dot));
      if (owner != by_stem.end()) break;
    }
    if (owner == by_stem.end()) {
      ++found.ignored;
    } else {
      found.samples[owner->second].files.emplace_back(lower(name.substr(dot + 1)),
                                                      (folder / name).string());
    }
  }
}

}  // namespace

void find_in_tree(const std::string& root, FoundFiles& found) {
  const fs::path top = fs::path(root).lexically_normal();
  std::map<std::string, std::vector<std::string>> folders;
  std::vector<fs::path> waiting{top};
  while (!waiting.empty()) {
    const fs::path folder = std::move(waiting.back());
    waiting.pop_back();
    std::error_code failed;
    fs::directory_iterator entry(folder, failed);
    for (; !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
      std::error_code ignored;
      if (entry->is_directory(ignored) && !entry->is_symlink(ignored)) {
        waiting.push_back(entry->path());
      } else {
        folders[folder.string()].push_back(entry->path().filename().string());
      }
    }
    if (failed) found.refused.push_back({folder.string(), failed.message()});
  }
  for (auto& [folder, names] : folders) {
    add_folder(folder, fs::path(folder).lexically_relative(top), std::move(names), found);
  }
}

void find_file(const std::string& path, FoundFiles& found) {
  const fs::path file(path);
  if (!is_video(file.filename().string())) {
    found.refused.push_back({file.string(), "its extension is not that of a video"});
    return;
  }
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  const std::string stem = file.stem().string();
  std::vector<std::string> names{file.filename().string()};
  std::error_code failed;
  fs::directory_iterator entry(folder, failed);
  std::vector<std::string> longer;  // stems of other videos that begin with this one's
  for (; !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(stem + ".") || entry->is_directory(failed)) continue;
    if (is_video(name)) {
      if (entry->path().stem() != stem) longer.push_back(entry->path().stem().string() + ".");
    } else {
      names.push_back(name);
    }
  }
  std::erase_if(names, [&](const std::string& name) {
    return std::any_of(longer.begin(), longer.end(),
                       [&](const std::string& other) { return name.starts_with(other); });
  });
  add_folder(folder, {}, std::move(names), found);
}

}  // namespace shardreel::tools
