#include "tests/tools/pack/oracle.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && (line.back() == ',' || line.back() == '\r')) line.pop_back();
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

}  // namespace

std::vector<double> probe_times(const std::string& path) {
  const std::string text =
      run_command(fmt::format("ffprobe -v quiet -select_streams V:0 -show_entries "
                              "frame=best_effort_timestamp_time -of csv=p=0 '{}'",
                              path));
  std::vector<double> frames;
  for (const std::string& line : lines_of(text)) {
    frames.push_back(line[0] == 'N' ? 0 : std::stod(line));
  }
  return frames;
}

std::vector<std::size_t> probe_keyframes(const std::string& path) {
  const std::string text = run_command(
      fmt::format("ffprobe -v quiet -select_streams V:0 -show_entries packet=pts_time,flags "
                  "-of csv=p=0 '{}'",
                  path));
  std::vector<std::pair<double, bool>> packets;
  for (const std::string& line : lines_of(text))
    packets.emplace_back(std::stod(line), line.find('K') != std::string::npos);
  std::sort(packets.begin(), packets.end());
  std::vector<std::size_t> keys;
  for (std::size_t i = 0; i < packets.size(); ++i) {
    if (packets[i].second) keys.push_back(i);
  }
  return keys;
}

std::string probe_stream(const std::string& path, const std::string& entry) {
  const auto equals = entry.find('=');
  const std::string what = equals == std::string::npos ? "stream=" + entry : entry;
  const auto lines =
      lines_of(run_command(fmt::format("ffprobe -v quiet -select_streams V:0 -show_entries {} "
                                       "-of default=nw=1:nk=1 '{}'",
                                       what, path)));
  return lines.empty() ? "" : lines.front();
}

std::vector<std::string> frame_hashes(const std::string& path, const std::string& filters) {
  const std::string text = run_command(fmt::format(
      "ffmpeg -v error -noautorotate -i '{}' -map 0:V:0 {} -vsync passthrough -f framemd5 -", path,
      filters.empty() ? "" : "-vf " + filters));
  std::vector<std::string> hashes;
  for (const std::string& line : lines_of(text)) {
    if (line[0] != '#') hashes.push_back(line.substr(line.rfind(' ') + 1));
  }
  return hashes;
}

double luma_psnr(const std::string& reference, const std::string& path,
                 const std::string& filters) {
  const std::string text = run_command(
      fmt::format("ffmpeg -v info -nostdin -noautorotate -i '{}' -noautorotate -i '{}' -lavfi "
                  "'[0:V:0]{},setpts=N[a];[1:V:0]setpts=N[b];[a][b]psnr' -f null - 2>&1 | grep -o "
                  "'PSNR y:[0-9.inf]*'",
                  reference, path, filters));
  const std::string value = text.substr(text.find(':') + 1);
  return value.starts_with("inf") ? 99 : std::stod(value);
}

std::shared_ptr<const RandomAccess> open_bytes(const std::string& path) {
  return open_file(path).value()->random_access();
}

std::string all_bytes(const RandomAccess& content) {
  std::string bytes(content.size(), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::size_t got =
        content
            .read_at(done, {reinterpret_cast<std::byte*>(bytes.data()) + done, bytes.size() - done})
            .value();
    if (got == 0) throw std::runtime_error("the content is shorter than it says");
    done += got;
  }
  return bytes;
}

std::string saved(const RandomAccess& content, const std::string& path) {
  std::ofstream(path, std::ios::binary) << all_bytes(content);
  return path;
}

}  // namespace shardreel::testing
