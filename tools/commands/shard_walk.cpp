#include "tools/commands/shard_walk.h"

#include <fmt/format.h>

#include <utility>
#include <variant>

#include "shardreel/units.h"

namespace shardreel::tools {
namespace {

InputOptions source_options(const WalkOptions& options) {
  InputOptions input;
  input.integrity = options.integrity;
  input.allow_pipe = options.allow_pipe;
  return input;
}

ShardReaderOptions reader_options(const WalkOptions& options) {
  ShardReaderOptions reader;
  reader.integrity = options.integrity;
  reader.member_inline_bytes = options.member_inline_bytes;
  reader.max_member_bytes = options.max_member_bytes;
  reader.spool_dir = options.spool_dir;
  return reader;
}

Error stopped() { return {ErrorCode::kStopped, "stopped while reading shards", {}, {}, {}}; }

}  // namespace

/// What the reference calls its current sample.
struct ShardWalker::Held {
  WalkedSample sample;
  std::uint64_t ordinal = 0;  ///< of the part that was read last, in its own shard
  bool carried = false;       ///< its shard broke off, and the next one has given nothing yet
};

Result<bool> WalkVisitor::shard_end(const WalkedShard& /*shard*/) { return true; }

ShardWalker::ShardWalker(WalkOptions options, std::stop_token stop)
    : options_(std::move(options)), stop_(std::move(stop)), opener_(source_options(options_)) {}
ShardWalker::~ShardWalker() = default;

Result<bool> ShardWalker::release(WalkVisitor& visitor) {
  if (!held_) return true;
  const auto given = std::exchange(held_, nullptr);
  return visitor.sample(std::move(given->sample));
}

Result<bool> ShardWalker::take(WalkedSample given, WalkVisitor& visitor) {
  if (!options_.merge_cut_samples) return visitor.sample(std::move(given));
  const std::uint64_t ordinal = given.sample.ordinal;
  Sample& added = given.sample;
  if (held_ && held_->carried && ordinal == 0 && held_->sample.sample.key == added.key) {
    Sample& sample = held_->sample.sample;
    auto& shards = held_->sample.field_shards;
    shards.resize(sample.fields.size(), sample.shard);
    for (Field& field : added.fields) {
      if (sample.find(field.name) != nullptr) continue;  // as for any field given twice
      sample.fields.push_back(std::move(field));
      shards.push_back(added.shard);
    }
    held_->ordinal = ordinal;
    held_->carried = false;
    return true;
  }
  auto more = release(visitor);
  held_ = std::make_unique<Held>(Held{std::move(given), ordinal, false});
  return more;
}

Result<bool> ShardWalker::break_off(const FailedSample& failure, WalkVisitor& visitor) {
  if (!held_) return true;
  // The failure takes the ordinal behind the sample that was being put together. Where that is not
  // the held one, others came between and were dropped.
  const bool last = held_->carried ? failure.ordinal == 0 : failure.ordinal == held_->ordinal + 1;
  if (!last) return release(visitor);
  held_->carried = true;
  return true;
}

Result<bool> ShardWalker::walk(std::uint64_t number, const std::string& url, WalkVisitor& visitor) {
  WalkedShard shard;
  shard.number = number;
  shard.url = url;
  const auto fail = [&](const FailedSample& failure) -> Result<bool> {
    if (stop_.stop_requested()) return stopped();
    ++shard.failures;
    if (failure.fatal) {
      auto more = break_off(failure, visitor);
      if (!more || !*more) return more;
    }
    return visitor.failure(number, failure);
  };

  auto stream = opener_.open(url, stop_);
  if (!stream) {
    auto more = fail(FailedSample{std::move(stream.error().at(url)), 0, true});
    if (!more || !*more) return more;
    return visitor.shard_end(shard);
  }
  if (const auto file = (*stream)->random_access()) shard.file_bytes = file->size();
  ShardReader reader(std::move(*stream), url, reader_options(options_));
  bool broken = false;
  while (true) {
    if (stop_.stop_requested()) return stopped();
    ReadStep step = reader.step();
    Result<bool> more = true;
    if (auto* sample = std::get_if<Sample>(&step)) {
      ++shard.samples;
      more = take(WalkedSample{number, std::move(*sample), {}}, visitor);
    } else if (const auto* failure = std::get_if<FailedSample>(&step)) {
      broken = broken || failure->fatal;
      more = fail(*failure);
    } else if (const auto* memory = std::get_if<NeedsMemory>(&step)) {
      reader.refuse(Error{ErrorCode::kMemory,
                          fmt::format("no memory for {}", format_bytes(memory->bytes)),
                          {},
                          {},
                          {}});
    } else {
      shard.empty = std::move(std::get<ShardEnd>(step).empty);
      break;
    }
    if (!more || !*more) return more;
  }
  shard.bytes = reader.position();
  shard.whole = !broken;
  if (!broken) {
    auto more = release(visitor);
    if (!more || !*more) return more;
  }
  return visitor.shard_end(shard);
}

Result<bool> ShardWalker::finish(WalkVisitor& visitor) { return release(visitor); }

std::optional<std::string> local_path(const std::string& url) {
  if (url == "-" || url.starts_with("pipe:")) return std::nullopt;
  if (url.starts_with("file:")) {
    std::string path = url.substr(5);
    if (path.starts_with("//localhost/")) path.erase(0, 11);
    if (path.starts_with("///")) path.erase(0, 2);
    return path;
  }
  if (url.find("://") != std::string::npos) return std::nullopt;
  return url;
}

Result<bool> walk_shards(const ShardList& shards, const WalkOptions& options, WalkVisitor& visitor,
                         const std::stop_token& stop) {
  ShardWalker walker(options, stop);
  for (std::uint64_t number = 0; number < shards.size(); ++number) {
    auto more = walker.walk(number, shards.at(number), visitor);
    if (!more || !*more) return more;
  }
  return walker.finish(visitor);
}

}  // namespace shardreel::tools
