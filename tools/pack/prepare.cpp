#include "tools/pack/prepare.h"

#include <fmt/format.h>

#include <cstring>
#include <exception>
#include <new>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/pack/input_list.h"
#include "tools/pack/json_check.h"
#include "tools/pack/segment.h"
#include "tools/pack/transcode.h"

namespace shardreel::tools {
namespace {

constexpr std::uint64_t kMaxJsonBytes = std::uint64_t{64} << 20;

using Content = std::shared_ptr<const RandomAccess>;

/// Reading ends when the run does: copying a long video takes longer than a user waits.
class StoppableContent final : public RandomAccess {
 public:
  StoppableContent(Content content, std::stop_token stop)
      : content_(std::move(content)), stop_(std::move(stop)) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return content_->size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    if (stop_.stop_requested()) {
      return Error{ErrorCode::kStopped, "asked to stop while reading", {}, {}, {}};
    }
    return content_->read_at(offset, into);
  }

 private:
  Content content_;
  std::stop_token stop_;
};

Content content_of(const std::string& text) {
  auto block = heap_allocator().try_allocate(text.size());
  if (!text.empty()) std::memcpy(block->span().data(), text.data(), text.size());
  return memory_source(std::make_shared<const OwnedBytes>(std::move(*block)));
}

/// Put `columns` into the field json; a new one where the sample has none.
Result<void> add_columns(std::vector<FieldToWrite>& fields, const std::string& columns) {
  FieldToWrite* json = nullptr;
  for (FieldToWrite& field : fields) {
    if (field.name == "json") json = &field;
  }
  std::string text;
  if (json != nullptr) {
    if (json->content->size() > kMaxJsonBytes) {
      return Error{ErrorCode::kTooLarge, "its .json is too large to add columns to", {}, {}, {}};
    }
    text.resize(static_cast<std::size_t>(json->content->size()));
    const auto got = json->content->read_at(0, std::as_writable_bytes(std::span(text)));
    if (!got) return got.error();
    text.resize(*got);
    // An empty file is no JSON object; merging takes an empty text for "no sidecar".
    if (text.empty()) text.assign(1, ' ');
  }
  auto merged = merge_columns(text, columns);
  if (!merged) return std::move(merged.error());
  const FieldToWrite made{"json", content_of(*merged)};
  json != nullptr ? * json = made : fields.emplace_back(made);
  return {};
}

std::uint64_t payload_of(const std::vector<FieldToWrite>& fields) {
  std::uint64_t bytes = 0;
  for (const FieldToWrite& field : fields) bytes += field.content->size();
  return bytes;
}

/// The work on one sample, step by step.
class Preparation {
 public:
  Preparation(const PackItem& item, const PrepareOptions& options, std::stop_token stop)
      : item_(item), options_(options), stop_(std::move(stop)) {}

  /// Whether what failed was writing to the spool, or may have been.
  [[nodiscard]] bool spooling() const noexcept { return spooling_; }

  Result<Prepared> run() {
    if (auto opened = open_files(); !opened) return std::move(opened.error());
    // A transcoder decodes everything itself, and gives nothing for what does not decode.
    const bool decoded_anyway = options_.transcode && options_.check == CheckLevel::kDecode;
    auto video = check_video(fields_[0].content, fields_[0].name,
                             decoded_anyway ? CheckLevel::kOpen : options_.check, stop_);
    if (!video) return std::move(video.error());
    if (auto good = check_json(); !good) return std::move(good.error());
    if (!item_.columns.empty()) {
      if (auto added = add_columns(fields_, item_.columns); !added) {
        return std::move(added.error());
      }
    }
    spooling_ = true;
    if (options_.transcode) {
      if (auto made = transcode(); !made) return std::move(made.error());
      video = check_video(fields_[0].content, fields_[0].name, CheckLevel::kOpen, stop_);
      if (!video) return std::move(video.error());
    }
    if (options_.segment_seconds > 0) {
      if (auto cut = segment(*video); !cut) return std::move(cut.error());
    } else {
      const std::uint64_t bytes = payload_of(fields_);
      prepared_.samples.push_back({item_.key, std::move(fields_), std::move(*video), bytes});
    }
    return std::move(prepared_);
  }

 private:
  Result<void> open_files() {
    for (const auto& [name, path] : item_.files) {
      auto stream = open_file(path);
      if (!stream) return std::move(stream.error());
      fields_.push_back(
          {name, std::make_shared<const StoppableContent>((*stream)->random_access(), stop_)});
    }
    return {};
  }

  /// What `verify` would find wrong is not packed.
  Result<void> check_json() const {
    for (std::size_t i = 1; i < fields_.size(); ++i) {
      if (!is_json_field(fields_[i].name)) continue;
      const auto problem = find_json_problem(*fields_[i].content);
      if (!problem) return problem.error();
      if (!*problem) continue;
      return Error{ErrorCode::kUnsupported,
                   fmt::format("'{}' is not JSON: {}", item_.files[i].second, **problem),
                   {},
                   {},
                   {}};
    }
    return {};
  }

  Result<void> transcode() {
    FieldToWrite& video = fields_[0];
    auto made =
        transcode_video(video.content, video.name, *options_.transcode, options_.spool_dir, stop_);
    if (!made) return std::move(made.error());
    prepared_.gain = {1, made->source_bytes, made->bytes, made->source_cost.decoded_frames,
                      made->cost.decoded_frames};
    video = {made->field, std::move(made->content)};
    return {};
  }

  Result<void> segment(const std::optional<VideoSummary>& whole) {
    SegmentOptions options;
    options.seconds = options_.segment_seconds;
    options.spool_dir = options_.spool_dir;
    auto cutter = VideoSegmenter::open(fields_[0].content, fields_[0].name, options);
    if (!cutter) return std::move(cutter.error());
    for (;;) {
      auto next = cutter->next(stop_);
      if (!next) return std::move(next.error());
      if (!*next) return {};
      VideoSegment& part = **next;
      PreparedSample sample{segment_key(item_.key, part.number), fields_, whole, 0};
      sample.fields[0] = {part.field, std::move(part.content)};
      const nlohmann::ordered_json source = {{"source_key", item_.key},
                                             {"source_start_seconds", part.start_seconds},
                                             {"source_end_seconds", part.end_seconds},
                                             {"source_first_frame", part.first_frame}};
      if (auto added = add_columns(sample.fields, dump(source)); !added) return added;
      if (sample.video) {
        sample.video->frames = static_cast<std::uint64_t>(part.frames);
        sample.video->seconds = part.end_seconds - part.start_seconds;
      }
      sample.payload_bytes = payload_of(sample.fields);
      prepared_.samples.push_back(std::move(sample));
    }
  }

  const PackItem& item_;
  const PrepareOptions& options_;
  std::stop_token stop_;
  std::vector<FieldToWrite> fields_;  ///< the video first
  Prepared prepared_;
  bool spooling_ = false;
};

}  // namespace

Prepared prepare(const PackItem& item, const PrepareOptions& options, const std::stop_token& stop) {
  Prepared failed;
  try {
    Preparation preparation(item, options, stop);
    auto prepared = preparation.run();
    if (prepared) return std::move(*prepared);
    failed.refused = std::move(prepared.error());
    failed.fatal = preparation.spooling() && failed.refused->code == ErrorCode::kIo;
  } catch (const std::bad_alloc&) {
    failed.refused = Error{ErrorCode::kMemory, "out of memory", {}, {}, {}};
  } catch (const std::exception& error) {
    failed.refused = Error{ErrorCode::kInternal, error.what(), {}, {}, {}};
  }
  return failed;
}

}  // namespace shardreel::tools
