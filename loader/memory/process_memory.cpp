#include "loader/memory/process_memory.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>

namespace shardreel {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

/// Call `visit` for each line "Name: 123 kB" of a file.
void for_each_size(const fs::path& path,
                   const std::function<void(std::string_view, std::uint64_t)>& visit) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t kib = 0;
    if (words >> name >> kib) visit(name, kib * 1024);
  }
}

/// Call `visit` for the process's cgroup v2 folder and each above it.
void for_each_cgroup(const std::function<void(const fs::path&)>& visit) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("0::/")) continue;
    const fs::path root = "/sys/fs/cgroup";
    for (fs::path at = line.substr(4);; at = at.parent_path()) {
      visit(root / at);
      if (at.empty()) break;
    }
  }
}

}  // namespace

ProcessMemory process_memory() {
  ProcessMemory memory;
  for_each_size("/proc/self/smaps_rollup", [&](std::string_view name, std::uint64_t bytes) {
    if (name == "Pss:") memory.pss_bytes = bytes;
    if (name == "Rss:") memory.rss_bytes = bytes;
    if (name == "Anonymous:") memory.anonymous_bytes = bytes;
  });
  for_each_size("/proc/self/status", [&](std::string_view name, std::uint64_t bytes) {
    if (name == "VmHWM:") memory.most_rss_bytes = bytes;
  });
  return memory;
}

std::optional<std::uint64_t> cgroup_memory_limit() {
  std::optional<std::uint64_t> limit;
  const auto consider = [&limit](const fs::path& path) {
    const auto line = first_line(path);
    // Version 1 writes a number near 2^63 for "no limit", version 2 the word "max".
    if (!line || line->empty() || !std::isdigit(static_cast<unsigned char>(line->front()))) return;
    const std::uint64_t bytes = std::stoull(*line);
    if (bytes < (std::uint64_t{1} << 60)) limit = std::min(limit.value_or(bytes), bytes);
  };
  for_each_cgroup([&](const fs::path& group) { consider(group / "memory.max"); });
  consider("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  return limit;
}

std::uint64_t usable_memory() {
  const std::uint64_t machine = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                                static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min(machine, cgroup_memory_limit().value_or(machine));
}

std::uint32_t usable_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  double cores = 1;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) cores = CPU_COUNT(&mask);
  for_each_cgroup([&](const fs::path& group) {
    const auto line = first_line(group / "cpu.max");
    if (!line) return;
    std::istringstream words(*line);
    double quota = 0;
    double period = 0;
    if (words >> quota >> period && period > 0) cores = std::min(cores, std::ceil(quota / period));
  });
  return static_cast<std::uint32_t>(std::max(1.0, cores));
}

}  // namespace shardreel
