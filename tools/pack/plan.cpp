#include "tools/pack/plan.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <set>
#include <tuple>

namespace shardreel::tools {
namespace {

Error invalid(std::string message) {
  return Error{ErrorCode::kInvalidOption, std::move(message), {}, {}, {}};
}

std::uint64_t hash(std::string_view text, std::uint64_t seed) {
  return XXH64(text.data(), text.size(), seed);
}

bool is_split_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

struct Bin {
  double weight = 0;
  std::uint64_t bytes = 0;
  std::vector<std::size_t> samples;
};

bool has_room(const Bin& bin, const Load& load, const ShardLimits& limits) {
  if (bin.samples.empty()) return true;  // a sample beyond the limit has a shard of its own
  if (limits.samples > 0 && bin.samples.size() >= limits.samples) return false;
  return limits.bytes == 0 ||
         (bin.bytes < limits.bytes && load.payload_bytes <= limits.bytes - bin.bytes);
}

/// Fill `count` bins; nothing when a sample finds no room.
std::optional<std::vector<Bin>> fill(std::span<const Load> samples,
                                     std::span<const std::size_t> heaviest_first, std::size_t count,
                                     const ShardLimits& limits) {
  std::vector<Bin> bins(count);
  // Ordered by weight, then samples, then number; full ones leave it.
  std::set<std::tuple<double, std::size_t, std::size_t>> open;
  for (std::size_t i = 0; i < count; ++i) open.emplace(0.0, 0, i);
  for (const std::size_t sample : heaviest_first) {
    const Load& load = samples[sample];
    auto at = open.begin();
    while (at != open.end() && !has_room(bins[std::get<2>(*at)], load, limits)) ++at;
    if (at == open.end()) return std::nullopt;
    const std::size_t number = std::get<2>(*at);
    Bin& bin = bins[number];
    open.erase(at);
    bin.weight += load.weight;
    bin.bytes += load.payload_bytes;
    bin.samples.push_back(sample);
    const bool full = (limits.samples > 0 && bin.samples.size() >= limits.samples) ||
                      (limits.bytes > 0 && bin.bytes >= limits.bytes);
    if (!full) open.emplace(bin.weight, bin.samples.size(), number);
  }
  return bins;
}

}  // namespace

Result<std::vector<Split>> parse_splits(std::string_view text) {
  std::vector<Split> splits;
  double sum = 0;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    begin = end + 1;
    const std::size_t equals = std::min(part.find('='), part.size());
    const std::string_view name = part.substr(0, equals);
    const std::string_view number = part.substr(std::min(equals + 1, part.size()));
    double share = 0;
    const auto [last, status] =
        std::from_chars(number.data(), number.data() + number.size(), share);
    if (!is_split_name(name) || status != std::errc{} || last != number.data() + number.size() ||
        !(share > 0 && share <= 1)) {
      return invalid(fmt::format("'{}' is no split; expected NAME=SHARE, e.g. train=0.9", part));
    }
    if (std::any_of(splits.begin(), splits.end(), [&](const Split& s) { return s.name == name; })) {
      return invalid(fmt::format("the split '{}' is named twice", name));
    }
    splits.push_back({std::string(name), share});
    sum += share;
  }
  if (std::abs(sum - 1) > 1e-6) {
    return invalid(fmt::format("the shares of the splits add up to {}; expected 1", sum));
  }
  return splits;
}

std::size_t split_of(std::string_view group, std::span<const Split> splits) {
  const double place = static_cast<double>(hash(group, 0) >> 11) * 0x1.0p-53;
  double below = 0;
  for (std::size_t i = 0; i + 1 < splits.size(); ++i) {
    below += splits[i].share;
    if (place < below) return i;
  }
  return splits.empty() ? 0 : splits.size() - 1;
}

std::string_view group_of(std::string_view key, bool by_folder) {
  if (!by_folder) return key;
  const std::size_t slash = key.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : key.substr(0, slash);
}

std::vector<std::size_t> shuffled_order(std::span<const std::string_view> keys,
                                        std::uint64_t seed) {
  std::vector<std::pair<std::uint64_t, std::size_t>> places;
  for (std::size_t i = 0; i < keys.size(); ++i) places.emplace_back(hash(keys[i], seed), i);
  std::sort(places.begin(), places.end(), [&](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : keys[a.second] < keys[b.second];
  });
  std::vector<std::size_t> order;
  for (const auto& [place, i] : places) order.push_back(i);
  return order;
}

std::pair<std::size_t, std::size_t> task_slice(std::size_t n, std::uint32_t index,
                                               std::uint32_t count) {
  return {n * index / count, n * (std::size_t{index} + 1) / count};
}

std::vector<std::vector<std::size_t>> balance(std::span<const Load> samples,
                                              const ShardLimits& limits) {
  std::vector<std::vector<std::size_t>> shards;
  if (samples.empty()) return shards;
  std::vector<std::size_t> heaviest_first(samples.size());
  std::iota(heaviest_first.begin(), heaviest_first.end(), std::size_t{0});
  std::stable_sort(heaviest_first.begin(), heaviest_first.end(), [&](std::size_t a, std::size_t b) {
    return samples[a].weight > samples[b].weight;
  });
  const double bytes = std::accumulate(
      samples.begin(), samples.end(), 0.0,
      [](double sum, const Load& load) { return sum + static_cast<double>(load.payload_bytes); });
  std::size_t count = 1;
  if (limits.samples > 0) count = (samples.size() + limits.samples - 1) / limits.samples;
  if (limits.bytes > 0) {
    const auto needed =
        static_cast<std::size_t>(std::ceil(bytes / static_cast<double>(limits.bytes)));
    count = std::max(count, needed);
  }
  count = std::clamp<std::size_t>(count, 1, samples.size());
  // One shard a sample always fits, so this ends.
  auto bins = fill(samples, heaviest_first, count, limits);
  while (!bins) {
    count = std::min(samples.size(), count + std::max<std::size_t>(1, count / 64));
    bins = fill(samples, heaviest_first, count, limits);
  }
  for (Bin& bin : *bins) {
    if (bin.samples.empty()) continue;
    std::sort(bin.samples.begin(), bin.samples.end());
    shards.push_back(std::move(bin.samples));
  }
  return shards;
}

}  // namespace shardreel::tools
