#include "loader/pipeline/epoch_length.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "loader/demux/video_file.h"
#include "loader/pipeline/sample_filter.h"
#include "loader/read/open_index.h"
#include "loader/read/sample_reader.h"
#include "loader/read/shard_plan.h"
#include "loader/window/window_plan.h"

namespace shardreel {
namespace {

Error unknown(std::string why) { return {ErrorCode::kInvalidOption, std::move(why), {}, {}, {}}; }

/// The first field of the sample that is among `names`; the order of `names` decides.
std::string choose_video(const IndexedSample& sample, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    for (const IndexedField& field : sample.fields) {
      if (field.name == name) return name;
    }
  }
  return {};
}

/// Counts one shard's clips sample by sample, as the feed would come to cut them.
class ClipCounter {
 public:
  ClipCounter(const LoaderOptions& options, const MemoryPlan& plan, std::string shard)
      : options_(options),
        plan_(plan),
        filter_(SampleFilter::parse(options.input.filter).value()),
        shard_(std::move(shard)) {
    reading_.member_inline_bytes = plan.inline_bytes;
    reading_.max_member_bytes = options.input.max_member_bytes;
    reading_.large_fields = options.input.video_fields;
  }

  Result<void> open() {
    auto fresh = fresh_index(shard_, options_.input.index_dir);
    if (!fresh) return std::move(fresh.error());
    file_ = std::move(fresh->file);
    index_ = std::move(fresh->index);
    return {};
  }

  [[nodiscard]] const ShardIndex& index() const { return *index_; }

  Result<std::uint64_t> clips_of(std::uint64_t at, const IndexedSample& sample) const {
    constexpr std::uint64_t kNone = 0;
    if (sample.fields.empty()) {  // damaged: its failure takes its place
      const bool certain = options_.input.integrity == Integrity::kStrict && sample.failure &&
                           sample.failure->code != ErrorCode::kTooLarge;
      if (certain) return kNone;
      return unknown(fmt::format("sample {} of {} is damaged", sample.key, shard_));
    }
    if (refuse_sample(sample, shard_, reading_, plan_.shard_bytes)) return kNone;
    const std::string video = choose_video(sample, options_.input.video_fields);
    if (video.empty() || !filter_.accepts_key(sample.key)) return kNone;
    if (choose_video(sample, index_->video_fields()) != video)
      return unknown(fmt::format("the index of {} was made for other video_fields", shard_));
    if (filter_.looks_into_fields()) {
      auto accepted = accepts_fields(sample);
      if (!accepted) return std::move(accepted.error());
      if (!*accepted) return kNone;
    }
    const auto record = index_->video(at);
    if (!record) return kNone;  // cannot be opened
    auto facts = facts_of(at, *record);
    if (!facts) return std::move(facts.error());
    if (!filter_.accepts(*facts)) return kNone;
    const auto windows = count_windows(facts->times(), options_.window);
    return windows ? *windows : kNone;  // a sample that fails
  }

 private:
  Result<bool> accepts_fields(const IndexedSample& sample) const {
    SampleFields fields;
    fields.key = sample.key;
    for (const IndexedField& field : sample.fields) {
      if (std::ranges::find(reading_.large_fields, field.name) != reading_.large_fields.end())
        continue;
      if (!index_->seekable() || !field.contiguous)
        return unknown(fmt::format("filter looks into fields, and {} is compressed", shard_));
      Field content{field.name, field.offset, field.size,
                    slice(file_, field.content_offset, field.size)};
      auto text = content.text();
      if (!text) return std::move(text.error());
      fields.fields.emplace_back(field.name, std::move(*text));
    }
    return filter_.accepts(fields);
  }

  /// Where only frames count, the record has all; else the packets' times are read.
  Result<VideoFacts> facts_of(std::uint64_t at, const VideoRecord& record) const {
    if (!options_.window.fps && !filter_.looks_into_times()) {
      VideoFacts facts;
      facts.frame_count = record.frame_count;
      return facts;
    }
    auto video = index_->read_video(at);
    if (!video) return std::move(video.error());
    return indexed_facts(video->record, video->packets);
  }

  const LoaderOptions& options_;
  const MemoryPlan& plan_;
  const SampleFilter filter_;
  const std::string shard_;
  ShardReaderOptions reading_;
  std::shared_ptr<const RandomAccess> file_;
  std::optional<ShardIndex> index_;
};

}  // namespace

EpochLength::EpochLength(const LoaderOptions& options, std::uint64_t world, std::uint64_t shards)
    : batch_(options.batch),
      world_(world),
      shards_(shards),
      modulo_(shards < world ? world : 1),
      parts_(shards * modulo_) {}

Result<EpochLength> EpochLength::measure(const LoaderOptions& options, const MemoryPlan& plan,
                                         const ShardList& shards, const std::stop_token& stop) {
  const std::uint64_t world = *options.batch.world_size * plan.lanes;
  // Before anything of the list's size is made: most lists without indexes end here.
  {
    ClipCounter first(options, plan, shards.at(0));
    if (auto opened = first.open(); !opened) return std::move(opened.error());
  }
  EpochLength length(options, world, shards.size());
  for (std::uint64_t s = 0; s < shards.size(); ++s) {
    if (stop.stop_requested())
      return Error{ErrorCode::kStopped, "stopped while reading the shards' indexes", {}, {}, {}};
    ClipCounter counter(options, plan, shards.at(s));
    if (auto opened = counter.open(); !opened) return std::move(opened.error());
    for (std::uint64_t i = 0; i < counter.index().count(); ++i) {
      const IndexedSample sample = counter.index().sample(i);
      auto clips = counter.clips_of(i, sample);
      if (!clips) return std::move(clips.error());
      length.parts_[s * length.modulo_ + sample.ordinal % length.modulo_] += *clips;
      length.all_clips_ += *clips;
    }
  }
  return length;
}

std::uint64_t EpochLength::clips(std::uint64_t epoch, std::uint64_t rank) const {
  const ShardShare share = plan_shards(shards_, batch_.shuffle, batch_.seed, epoch, rank, world_);
  std::uint64_t clips = 0;
  for (const std::uint64_t shard : share.shards) clips += parts_[shard * modulo_ + share.remainder];
  return clips;
}

EpochSize EpochLength::size(std::uint64_t epoch, std::uint64_t rank) const {
  const std::uint64_t all = clips(epoch, rank);
  const std::uint64_t full = all / batch_.batch_size;
  if (batch_.drops_last()) return {full * batch_.batch_size, full};
  return {all, (all + batch_.batch_size - 1) / batch_.batch_size};
}

std::uint64_t EpochLength::equal_batches() const noexcept {
  const std::uint64_t at_once = world_ * batch_.batch_size;
  const std::uint64_t batches = (all_clips_ + (batch_.drops_last() ? 0 : at_once - 1)) / at_once;
  return std::max<std::uint64_t>(1, batches);
}

}  // namespace shardreel
