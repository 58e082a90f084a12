#include "tools/pack/write_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "shardreel/shard_writer.h"
#include "tools/pack/ordered_work.h"

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

Error stopped() { return Error{ErrorCode::kStopped, "asked to stop", {}, {}, {}}; }

/// Failures of the run, not of the sample.
bool ends_the_run(const Prepared& prepared) {
  return prepared.fatal || prepared.refused->code == ErrorCode::kStopped ||
         prepared.refused->code == ErrorCode::kInternal;
}

Json survey_line(std::size_t item, const Surveyed& surveyed) {
  Json json = {{"survey", item}, {"payload_bytes", surveyed.payload_bytes}};
  if (surveyed.refused) {
    json["refused"] = to_json(Refusal{"", "", surveyed.refused->code, surveyed.refused->message});
  }
  if (const auto& video = surveyed.video) {
    json["video"] = {video->codec, video->width, video->height, video->frames, video->seconds};
  }
  return json;
}

void load_survey(const Json& json, Survey& survey) {
  Surveyed& one = survey[json.at("survey").get<std::size_t>()];
  one.payload_bytes = json.at("payload_bytes").get<std::uint64_t>();
  if (json.contains("refused")) {
    const Json tally = {{"inputs", 0},
                        {"refused", Json::array({json["refused"]})},
                        {"codecs", Json::object()},
                        {"sizes", Json::object()},
                        {"fields", Json::object()},
                        {"gain", {0, 0, 0, 0.0, 0.0}}};
    const Refusal refusal = tally_from(tally).refused.at(0);
    one.refused = Error{refusal.code, refusal.message, {}, {}, {}};
  }
  if (json.contains("video")) {
    const Json& video = json["video"];
    one.video = VideoSummary{video.at(0).get<std::string>(), video.at(1).get<std::uint32_t>(),
                             video.at(2).get<std::uint32_t>(), video.at(3).get<std::uint64_t>(),
                             video.at(4).get<double>()};
  }
}

/// Run `prepare` so that either the pool or the run can stop it.
Prepared prepare_stoppable(const PackItem& item, const PrepareOptions& options,
                           const std::stop_token& pool, const std::stop_token& run) {
  auto either = std::make_shared<std::stop_source>();
  const std::stop_callback on_pool(pool, [either] { either->request_stop(); });
  const std::stop_callback on_run(run, [either] { either->request_stop(); });
  return prepare(item, options, either->get_token());
}

/// Writes one split's shards.
class SplitWriter {
 public:
  SplitWriter(const std::vector<PackItem>& items, const SetJob& job, SetState& state,
              Journal& journal, Progress& progress, std::stop_token stop)
      : items_(items),
        job_(job),
        plan_(job.splits[state.split]),
        state_(state),
        journal_(journal),
        progress_(progress),
        stop_(std::move(stop)) {}

  Result<void> run() {
    ShardWriterOptions options{job_.directory, plan_.prefix, 0, 0, job_.overwrite, 0, true};
    if (!plan_.ends) {
      options.max_samples = job_.limits.samples;
      options.max_bytes = job_.limits.bytes;
    }
    for (const ManifestShard& shard : state_.shards) {
      if (shard.split == plan_.name) ++options.first_shard;
    }
    auto writer = ShardWriter::create(std::move(options));
    if (!writer) return std::move(writer.error());
    writer_ = std::make_unique<ShardWriter>(std::move(*writer));
    counts_ = fresh_counts();
    OrderedWork<Prepared> work(
        state_.item, plan_.order.size(), job_.jobs,
        [this](std::size_t at, const std::stop_token& pool) { return work_on(at, pool); });
    const std::size_t begin = state_.item, first_part = state_.part;
    for (std::size_t at = begin; at < plan_.order.size(); ++at) {
      if (plan_.ends && std::binary_search(plan_.ends->begin(), plan_.ends->end(), at)) {
        if (auto ended = end_shard(at, 0); !ended) return ended;
      }
      auto prepared = work.next();
      if (stop_.stop_requested()) return stopped();
      if (auto put = put_item(at, at == begin ? first_part : 0, *prepared); !put) return put;
      progress_.done(1, items_[plan_.order[at]].bytes);
    }
    return end_shard(plan_.order.size(), 0);
  }

 private:
  static ManifestCounts fresh_counts() {
    ManifestCounts counts;
    counts.frames = 0;
    counts.seconds = 0;
    return counts;
  }

  Prepared work_on(std::size_t at, const std::stop_token& pool) const {
    const std::size_t item = plan_.order[at];
    const auto known = state_.survey.find(item);
    if (known == state_.survey.end()) {
      return prepare_stoppable(items_[item], job_.prepare, pool, stop_);
    }
    if (known->second.refused) {
      Prepared refused;
      refused.refused = known->second.refused;
      return refused;
    }
    // It has been decoded once.
    PrepareOptions options = job_.prepare;
    options.check = std::min(options.check, CheckLevel::kOpen);
    return prepare_stoppable(items_[item], options, pool, stop_);
  }

  Result<void> put_item(std::size_t at, std::size_t first_part, Prepared& prepared) {
    const PackItem& item = items_[plan_.order[at]];
    if (prepared.refused) {
      if (ends_the_run(prepared)) return prepared.refused->at({}, item.key);
      pending_.refused.push_back(
          {item.video, item.key, prepared.refused->code, prepared.refused->message});
      ++pending_.inputs;
      return {};
    }
    for (std::size_t part = first_part; part < prepared.samples.size(); ++part) {
      const PreparedSample& sample = prepared.samples[part];
      if (!plan_.ends && !writer_->fits(sample.fields)) {
        if (auto ended = end_shard(at, part); !ended) return ended;
      }
      if (auto written = writer_->write(sample.key, sample.fields); !written) return written;
      count(sample);
    }
    ++pending_.inputs;
    pending_.gain.videos += prepared.gain.videos;
    pending_.gain.source_bytes += prepared.gain.source_bytes;
    pending_.gain.bytes += prepared.gain.bytes;
    pending_.gain.source_window_frames += prepared.gain.source_window_frames;
    pending_.gain.window_frames += prepared.gain.window_frames;
    return {};
  }

  void count(const PreparedSample& sample) {
    ManifestCounts one;
    one.samples = 1;
    one.payload_bytes = sample.payload_bytes;
    for (const FieldToWrite& field : sample.fields) ++pending_.fields[field.name];
    if (sample.video) {
      one.frames = sample.video->frames;
      one.seconds = sample.video->seconds;
      ++pending_.codecs[sample.video->codec];
      ++pending_.sizes[fmt::format("{}x{}", sample.video->width, sample.video->height)];
    }
    counts_ += one;
  }

  /// Complete the shard, if there is one, and note that the run goes on at `item`, `part`.
  Result<void> end_shard(std::size_t item, std::size_t part) {
    const std::size_t before = writer_->written().size();
    if (auto ended = writer_->end_shard(); !ended) return ended;
    Json line = {{"item", item}, {"part", part}, {"split", state_.split}};
    if (item == plan_.order.size()) line["split"] = state_.split + 1, line["item"] = 0;
    line["tally"] = to_json(pending_);
    if (writer_->written().size() > before) {
      const WrittenShard& written = writer_->written().back();
      counts_.bytes = written.bytes;
      state_.shards.push_back(
          {written.path.substr(job_.directory.size() + 1), plan_.name, written.sha256, counts_});
      line["shard"] = to_json(state_.shards.back());
    }
    state_.tally += pending_;
    pending_ = {};
    counts_ = fresh_counts();
    state_.item = line["item"].get<std::size_t>();
    state_.part = part;
    return journal_.append(dump(line), true);
  }

  const std::vector<PackItem>& items_;
  const SetJob& job_;
  const SplitPlan& plan_;
  SetState& state_;
  Journal& journal_;
  Progress& progress_;
  std::stop_token stop_;
  std::unique_ptr<ShardWriter> writer_;
  Tally pending_;          ///< of the shard that is being written
  ManifestCounts counts_;  ///< of the same
};

}  // namespace

Result<SetState> SetState::load(std::span<const std::string> lines) {
  SetState state;
  try {
    for (const std::string& line : lines) {
      const Json json = Json::parse(line);
      if (json.contains("survey")) load_survey(json, state.survey);
      if (json.contains("tally")) {
        state.tally += tally_from(json["tally"]);
        json.at("split").get_to(state.split);
        json.at("item").get_to(state.item);
        json.at("part").get_to(state.part);
      }
      if (json.contains("shard")) state.shards.push_back(shard_from(json["shard"]));
      if (json.contains("done")) state.done = true;
    }
  } catch (const nlohmann::json::exception& error) {
    return Error{ErrorCode::kInternal,
                 fmt::format("reading the journal of an unfinished run: {}", error.what()),
                 {},
                 {},
                 {}};
  }
  return state;
}

Result<void> survey_set(const std::vector<PackItem>& items, const SetJob& job, SetState& state,
                        Journal* journal, Progress& progress, const std::stop_token& stop) {
  std::vector<std::size_t> todo;
  for (const SplitPlan& split : job.splits) {
    for (const std::size_t item : split.order) {
      if (!state.survey.contains(item)) {
        todo.push_back(item);
      } else {
        progress.done(1, items[item].bytes);
      }
    }
  }
  PrepareOptions options = job.prepare;
  options.transcode.reset();
  options.segment_seconds = 0;
  OrderedWork<Prepared> work(0, todo.size(), job.jobs,
                             [&](std::size_t at, const std::stop_token& pool) {
                               return prepare_stoppable(items[todo[at]], options, pool, stop);
                             });
  for (const std::size_t item : todo) {
    auto prepared = work.next();
    if (stop.stop_requested()) return stopped();
    if (prepared->refused && ends_the_run(*prepared)) {
      return prepared->refused->at({}, items[item].key);
    }
    Surveyed surveyed;
    surveyed.refused = std::move(prepared->refused);
    if (!prepared->samples.empty()) {
      surveyed.payload_bytes = prepared->samples[0].payload_bytes;
      surveyed.video = std::move(prepared->samples[0].video);
    }
    if (journal != nullptr) {
      auto noted = journal->append(dump(survey_line(item, surveyed)), false);
      if (!noted) return noted;
    }
    state.survey.emplace(item, std::move(surveyed));
    progress.done(1, items[item].bytes);
  }
  return {};
}

Result<void> write_set(const std::vector<PackItem>& items, const SetJob& job, SetState& state,
                       Journal& journal, Progress& progress, const std::stop_token& stop) {
  for (std::size_t split = 0; split < job.splits.size(); ++split) {
    const auto& order = job.splits[split].order;
    const std::size_t done =
        split < state.split ? order.size() : (split == state.split ? state.item : 0);
    for (std::size_t at = 0; at < done; ++at) progress.done(1, items[order[at]].bytes);
  }
  while (state.split < job.splits.size()) {
    const std::size_t split = state.split;
    auto written = SplitWriter(items, job, state, journal, progress, stop).run();
    if (!written) return written;
    state.split = split + 1;
    state.item = state.part = 0;
  }
  return {};
}

}  // namespace shardreel::tools
