#include "tests/support/test_media.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

namespace fs = std::filesystem;

fs::path cache_dir() {
  const char* given = std::getenv("SHARDREEL_TEST_CACHE");
  fs::path dir =
      given != nullptr ? fs::path(given) : fs::temp_directory_path() / "shardreel-test-clips";
  fs::create_directories(dir);
  return dir;
}

/// Split one CSV line with quotes as RFC 4180 has them.
std::vector<std::string> split_csv(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (quoted && line[i] == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += '"';
      ++i;
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      cells.emplace_back();
    } else {
      cells.back() += line[i];
    }
  }
  return cells;
}

std::optional<long> number(const std::string& text) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  return end == text.c_str() ? std::nullopt : std::optional<long>(value);
}

}  // namespace

std::string make_clip(const std::string& arguments, const std::string& extension) {
  const auto digest = XXH3_64bits(arguments.data(), arguments.size());
  const fs::path target = cache_dir() / fmt::format("{:016x}.{}", digest, extension);
  if (fs::exists(target)) return target.string();
  // Two test programs may make the same clip at once: each writes its own file, the rename is
  // atomic.
  ScratchDir scratch;
  const std::string made = scratch / ("clip." + extension);
  run_command(
      fmt::format("ffmpeg -nostdin -hide_banner -loglevel error -y {} {}", arguments, made));
  const fs::path beside = target.string() + "." + scratch.path().filename().string();
  fs::copy_file(made, beside);
  fs::rename(beside, target);
  return target.string();
}

std::string make_test_clip(const std::string& codec_arguments, int frames,
                           const std::string& extension, const std::string& size) {
  return make_clip(fmt::format("-f lavfi -i testsrc2=size={}:rate=30 -frames:v {} {}", size, frames,
                               codec_arguments),
                   extension);
}

std::string shared_media_dir() {
  const char* given = std::getenv("SHARDREEL_MEDIA_DIR");
  const fs::path dir = given != nullptr
                           ? fs::path(given)
                           : fs::path(SHARDREEL_SOURCE_DIR) / ".." / "shared" / "media";
  return fs::exists(dir / "manifest.csv") ? fs::canonical(dir).string() : std::string();
}

std::vector<SharedVideo> shared_videos() {
  std::vector<SharedVideo> videos;
  const std::string dir = shared_media_dir();
  if (dir.empty()) return videos;
  std::ifstream file(dir + "/manifest.csv");
  std::string line;
  std::getline(file, line);
  std::map<std::string, std::size_t> column;
  const auto names = split_csv(line);
  for (std::size_t i = 0; i < names.size(); ++i) column[names[i]] = i;
  while (std::getline(file, line)) {
    const auto cells = split_csv(line);
    const auto cell = [&](const char* name) { return cells.at(column.at(name)); };
    videos.push_back({dir + "/" + cell("path"), cell("path"), cell("codec"), cell("pix_fmt"),
                      cell("category"), cell("notes"), cell("tags"), number(cell("frames")),
                      number(cell("packets"))});
  }
  return videos;
}

}  // namespace shardreel::testing
