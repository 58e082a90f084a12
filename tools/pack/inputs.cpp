#include "tools/pack/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string_view>
#include <unordered_map>

#include "loader/read/video_names.h"
#include "shardreel/byte_source.h"
#include "shardreel/options.h"
#include "shards/member_name.h"
#include "tools/pack/input_list.h"

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

/// The key's last part may have no dot, because the first dot ends it.
std::string key_of(const fs::path& folder, const std::string& stem) {
  std::string name = stem;
  std::replace(name.begin(), name.end(), '.', '_');
  const std::string parent = folder.generic_string();
  return parent.empty() || parent == "." ? name : parent + "/" + name;
}

/// Puts what was found into one list, and refuses what cannot stand in it.
class Collector {
 public:
  explicit Collector(FoundItems& found) : found_(found) {}

  void add(PackItem item) {
    for (std::size_t i = 0; i < item.files.size(); ++i) {
      const auto& [field, path] = item.files[i];
      if (auto good = check_member_name(item.key, field); !good) {
        return refuse({item.video, item.key, good.error().code, good.error().message});
      }
      for (std::size_t other = 0; other < i; ++other) {
        if (item.files[other].first == field) {
          return refuse({item.video, item.key, ErrorCode::kDuplicateField,
                         fmt::format("'{}' and '{}' would both be the field {}",
                                     item.files[other].second, path, field)});
        }
      }
    }
    const auto [at, is_new] = keys_.emplace(item.key, found_.items.size());
    if (!is_new) {
      return refuse(
          {item.video, item.key, ErrorCode::kDuplicateKey,
           fmt::format("its key '{}' is taken by '{}'", item.key, found_.items[at->second].video)});
    }
    found_.items.push_back(std::move(item));
  }
  void refuse(Refusal refusal) { found_.refused.push_back(std::move(refusal)); }
  void ignore_file() { ++found_.ignored; }

 private:
  FoundItems& found_;
  std::unordered_map<std::string, std::size_t> keys_;
};

bool is_picture_name(const std::string& file_name) {
  return is_video_name(file_name) && names_a_picture(lower(file_name));
}

/// The video that a file stands beside: the one with the longest stem wins (a.v2.json belongs to
/// a.v2.mp4 where that exists, else to a.mp4).
using Stems = std::map<std::string, std::size_t>;
Stems::const_iterator owner_of(const Stems& by_stem, const std::string& name, std::size_t& dot) {
  dot = name.rfind('.');
  for (; dot != std::string::npos && dot > 0; dot = name.rfind('.', dot - 1)) {
    const auto owner = by_stem.find(name.substr(0, dot));
    if (owner != by_stem.end()) return owner;
  }
  return by_stem.end();
}

/// Sort the files of one folder into samples. `below` is the folder as keys name it.
void add_folder(const fs::path& folder, const fs::path& below, std::vector<std::string> names,
                Collector& found) {
  std::sort(names.begin(), names.end());
  std::vector<PackItem> items;
  Stems by_stem;
  // What may be a picture is a video only where there is none that it stands beside.
  std::stable_partition(names.begin(), names.end(),
                        [](const std::string& name) { return !is_picture_name(name); });
  std::vector<std::string> beside;
  for (const std::string& name : names) {
    std::size_t dot = 0;
    if (!is_video_name(name) ||
        (is_picture_name(name) && owner_of(by_stem, name, dot) != by_stem.end())) {
      beside.push_back(name);
      continue;
    }
    dot = name.rfind('.');
    const std::string path = (folder / name).string();
    const auto [at, is_new] = by_stem.emplace(name.substr(0, dot), items.size());
    if (!is_new) {
      found.refuse(
          {path, items[at->second].key, ErrorCode::kDuplicateKey,
           fmt::format("'{}' has the same name; one video a sample", items[at->second].video)});
      continue;
    }
    items.push_back({path, key_of(below, at->first), {{lower(name.substr(dot + 1)), path}}, {}});
  }
  std::sort(beside.begin(), beside.end());
  for (const std::string& name : beside) {
    std::size_t dot = 0;
    const auto owner = owner_of(by_stem, name, dot);
    if (owner == by_stem.end()) {
      found.ignore_file();
    } else {
      items[owner->second].files.emplace_back(lower(name.substr(dot + 1)),
                                              (folder / name).string());
    }
  }
  for (PackItem& item : items) found.add(std::move(item));
}

void add_tree(const std::string& root, Collector& found) {
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
    if (failed) found.refuse({folder.string(), {}, ErrorCode::kIo, failed.message()});
  }
  for (auto& [folder, names] : folders) {
    add_folder(folder, fs::path(folder).lexically_relative(top), std::move(names), found);
  }
}

/// Names of the files of folders, read once each: a list may name many files of one folder.
class FolderNames {
 public:
  const std::vector<std::string>& of(const fs::path& folder) {
    const auto [at, is_new] = folders_.try_emplace(folder.string());
    if (is_new) {
      std::error_code failed;
      fs::directory_iterator entry(folder, failed);
      for (; !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
        std::error_code ignored;
        if (!entry->is_directory(ignored)) {
          at->second.push_back(entry->path().filename().string());
        }
      }
      std::sort(at->second.begin(), at->second.end());
    }
    return at->second;
  }

 private:
  std::unordered_map<std::string, std::vector<std::string>> folders_;
};

/// Add one video with its sidecars under `key`.
void add_video(const fs::path& file, const std::string& key, const std::string& columns,
               FolderNames& folders, Collector& found) {
  const std::string name = file.filename().string();
  if (!is_video_name(name)) {
    return found.refuse(
        {file.string(), {}, ErrorCode::kNotMedia, "its extension is not that of a video"});
  }
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  const std::string stem = file.stem().string();
  const std::string field = lower(name.substr(stem.size() + 1));
  PackItem item{file.string(), key, {{field, file.string()}}, columns};
  const auto& names = folders.of(folder);
  std::vector<std::string> longer;  // stems of other videos that begin with this one's
  const auto begin = std::lower_bound(names.begin(), names.end(), stem + ".");
  const auto end = std::find_if(
      begin, names.end(), [&](const std::string& other) { return !other.starts_with(stem + "."); });
  for (auto other = begin; other != end; ++other) {
    const std::string other_stem = fs::path(*other).stem().string();
    if (is_video_name(*other) && !is_picture_name(*other) && other_stem != stem)
      longer.push_back(other_stem + ".");
  }
  for (auto other = begin; other != end; ++other) {
    const bool others = std::any_of(longer.begin(), longer.end(), [&](const std::string& start) {
      return other->starts_with(start);
    });
    const bool video = is_video_name(*other) && (!is_picture_name(*other) || *other == name);
    if (video || others) continue;
    item.files.emplace_back(lower(other->substr(stem.size() + 1)), (folder / *other).string());
  }
  found.add(std::move(item));
}

/// The key of a path in a list, see the header.
std::string listed_key(const fs::path& path, const std::string& root) {
  fs::path below = path.lexically_normal();
  if (!root.empty()) {
    const fs::path inside = below.lexically_relative(fs::path(root).lexically_normal());
    if (!inside.empty() && *inside.begin() != "..") below = inside;
  }
  fs::path folder;
  for (const fs::path& part : below.relative_path().parent_path()) {
    if (part != ".." && part != ".") folder /= part;
  }
  return key_of(folder, below.stem().string());
}

Result<std::string> read_text(const std::string& path) {
  auto stream = open_file(path);
  if (!stream) return std::move(stream.error());
  const auto content = (*stream)->random_access();
  std::string text(static_cast<std::size_t>(content->size()), '\0');
  const auto got = content->read_at(0, std::as_writable_bytes(std::span(text)));
  if (!got) return got.error();
  text.resize(*got);
  return text;
}

Result<std::vector<ListedVideo>> read_list(const std::string& path) {
  auto text = read_text(path);
  if (!text) return std::move(text.error());
  if (path.ends_with(".jsonl")) return parse_jsonl(*text, path);
  if (path.ends_with(".csv")) return parse_csv(*text, path);
  return parse_path_list(*text);
}

}  // namespace

bool is_video_name(const std::string& file_name) {
  static const InputOptions defaults;
  const std::size_t dot = file_name.rfind('.');
  if (dot == std::string::npos || dot == 0) return false;
  const auto& known = defaults.video_fields;
  return std::find(known.begin(), known.end(), lower(file_name.substr(dot + 1))) != known.end();
}

Result<FoundItems> find_inputs(const std::vector<std::string>& inputs, const std::string& root) {
  FoundItems items;
  Collector found(items);
  FolderNames folders;
  for (const std::string& input : inputs) {
    const bool list = input.starts_with('@');
    const std::string path = list ? input.substr(1) : input;
    std::error_code failed;
    const auto status = fs::status(path, failed);
    if (!fs::exists(status)) {
      return Error{
          ErrorCode::kNotFound,
          fmt::format("'{}': {}", path, failed ? failed.message() : "no such file or folder"),
          {},
          {},
          {}};
    }
    if (list || path.ends_with(".jsonl") || path.ends_with(".csv")) {
      auto videos = read_list(path);
      if (!videos) return std::move(videos.error());
      const fs::path base = list ? fs::path() : fs::path(path).parent_path();
      for (const ListedVideo& video : *videos) {
        // An absolute path stays as it is.
        add_video(base / video.path,
                  listed_key(root.empty() ? fs::path(video.path) : base / video.path, root),
                  video.columns, folders, found);
      }
    } else if (fs::is_directory(status)) {
      add_tree(path, found);
    } else {
      add_video(path, key_of({}, fs::path(path).stem().string()), {}, folders, found);
    }
  }
  return items;
}

}  // namespace shardreel::tools
