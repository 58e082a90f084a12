#include "tools/pack/arrange.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <span>
#include <unordered_set>
#include <utility>

#include "shards/sha256.h"

namespace shardreel::tools {
namespace {

/// Digests of parts that cannot run into each other.
class Identity {
 public:
  void add(std::string_view text) {
    const std::string length = fmt::format("{}:", text.size());
    digest_.update(std::as_bytes(std::span(length)));
    digest_.update(std::as_bytes(std::span(text)));
  }
  Result<std::string> finish() { return digest_.finish(); }

 private:
  Sha256 digest_;
};

double weight_of(BalanceBy by, const Surveyed& sample) {
  switch (by) {
    case BalanceBy::kFrames: return sample.video ? static_cast<double>(sample.video->frames) : 0;
    case BalanceBy::kSeconds: return sample.video ? sample.video->seconds : 0;
    case BalanceBy::kNothing:
    case BalanceBy::kBytes: break;
  }
  return static_cast<double>(sample.payload_bytes);
}

bool is_segment_number(std::string_view text) {
  return text.size() >= 4 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

Result<std::string> fingerprint(FoundItems& found, const std::string& options) {
  Identity identity;
  identity.add(options);
  for (PackItem& item : found.items) {
    identity.add(item.key);
    identity.add(item.columns);
    for (const auto& [field, path] : item.files) {
      identity.add(field);
      identity.add(path);
      struct stat facts {};
      // What cannot be seen is refused when it is opened.
      if (stat(path.c_str(), &facts) != 0) facts = {};
      item.bytes += static_cast<std::uint64_t>(facts.st_size);
      identity.add(
          fmt::format("{} {}.{:09}", facts.st_size, facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec));
    }
    identity.add("");
  }
  for (const Refusal& refusal : found.refused) identity.add(refusal.path);
  return identity.finish();
}

void refuse_segment_keys(FoundItems& found) {
  std::unordered_set<std::string> keys;
  for (const PackItem& item : found.items) keys.insert(item.key);
  const auto clashes = [&](const PackItem& item) {
    const std::size_t mark = item.key.rfind('_');
    return mark != std::string::npos &&
           is_segment_number(std::string_view(item.key).substr(mark + 1)) &&
           keys.contains(item.key.substr(0, mark));
  };
  for (const PackItem& item : found.items) {
    if (!clashes(item)) continue;
    found.refused.push_back({item.video, item.key, ErrorCode::kDuplicateKey,
                             fmt::format("its key '{}' may be that of a segment of '{}'", item.key,
                                         item.key.substr(0, item.key.rfind('_')))});
  }
  std::erase_if(found.items, clashes);
}

std::vector<SplitPlan> arrange(const PackOptions& options, const std::vector<PackItem>& items,
                               const std::optional<TaskName>& task) {
  std::vector<std::size_t> order;
  if (options.shuffle) {
    std::vector<std::string_view> keys;
    for (const PackItem& item : items) keys.push_back(item.key);
    order = shuffled_order(keys, *options.shuffle);
  } else {
    for (std::size_t i = 0; i < items.size(); ++i) order.push_back(i);
  }
  const auto number = task ? std::optional(task->index) : std::nullopt;
  std::vector<SplitPlan> splits;
  for (const Split& split : options.splits) {
    splits.push_back({split.name, shard_prefix(options, split.name, number), {}, {}});
  }
  if (splits.empty()) splits.push_back({"", shard_prefix(options, "", number), {}, {}});
  for (const std::size_t item : order) {
    const auto group = group_of(items[item].key, options.group_by_folder);
    splits[split_of(group, options.splits)].order.push_back(item);
  }
  if (!task) return splits;
  for (SplitPlan& split : splits) {
    const auto [begin, end] = task_slice(split.order.size(), task->index, task->count);
    split.order = {split.order.begin() + static_cast<std::ptrdiff_t>(begin),
                   split.order.begin() + static_cast<std::ptrdiff_t>(end)};
  }
  return splits;
}

void balance_splits(const PackOptions& options, const Survey& survey,
                    std::vector<SplitPlan>& splits) {
  for (SplitPlan& split : splits) {
    std::vector<std::size_t> good, refused;
    std::vector<Load> loads;
    for (const std::size_t item : split.order) {
      const Surveyed& sample = survey.at(item);
      if (sample.refused) {
        refused.push_back(item);
      } else {
        good.push_back(item);
        loads.push_back({sample.payload_bytes, weight_of(options.balance, sample)});
      }
    }
    split.order.clear();
    split.ends.emplace();
    for (const auto& shard : balance(loads, options.limits)) {
      for (const std::size_t at : shard) split.order.push_back(good[at]);
      split.ends->push_back(split.order.size());
    }
    split.order.insert(split.order.end(), refused.begin(), refused.end());
  }
}

std::vector<PlannedShard> planned_shards(const PackOptions& options, const Survey& survey,
                                         const std::vector<SplitPlan>& splits) {
  std::vector<PlannedShard> shards;
  for (const SplitPlan& split : splits) {
    std::size_t number = 0;
    bool open = false;
    for (std::size_t at = 0; at < split.order.size(); ++at) {
      const Surveyed& sample = survey.at(split.order[at]);
      if (split.ends && std::binary_search(split.ends->begin(), split.ends->end(), at))
        open = false;
      if (sample.refused) continue;
      if (open && !split.ends) {
        const PlannedShard& last = shards.back();
        const ShardLimits& most = options.limits;
        open = (most.samples == 0 || last.samples < most.samples) &&
               (most.bytes == 0 || (last.payload_bytes < most.bytes &&
                                    sample.payload_bytes <= most.bytes - last.payload_bytes));
      }
      if (!open) {
        shards.push_back({fmt::format("{}{:06}.tar", split.prefix, number++), split.name});
        open = true;
      }
      PlannedShard& shard = shards.back();
      ++shard.samples;
      shard.payload_bytes += sample.payload_bytes;
      if (sample.video) {
        shard.frames += sample.video->frames;
        shard.seconds += sample.video->seconds;
      }
    }
  }
  return shards;
}

}  // namespace shardreel::tools
