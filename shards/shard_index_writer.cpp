#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <span>

#include "shardreel/shard_index.h"
#include "shards/file_access.h"
#include "shards/index_block.h"
#include "shards/index_bytes.h"
#include "shards/index_layout.h"
#include "shards/unique_fd.h"

namespace shardreel {
namespace {

/// Gives each different string a number, in the order of their first use.
class NumberTable {
 public:
  std::uint64_t number_of(std::string text) {
    const auto [at, added] = numbers_.try_emplace(std::move(text), numbers_.size());
    if (added) order_.push_back(&at->first);
    return at->second;
  }
  [[nodiscard]] const std::vector<const std::string*>& order() const { return order_; }

 private:
  std::map<std::string, std::uint64_t, std::less<>> numbers_;
  std::vector<const std::string*> order_;  // into the map, whose nodes stay where they are
};

Error bad_row(const IndexedSample& sample, std::string_view why) {
  return Error{ErrorCode::kInternal, fmt::format("indexing a sample: {}", why), {}, {}, {}}.at(
      {}, sample.key, sample.offset);
}

}  // namespace

std::uint64_t index_hash(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

struct ShardIndexWriter::State {
  ShardIdentity shard;
  bool seekable = false;
  std::vector<std::string> video_fields;
  NumberTable strings, profiles;
  IndexBytes rows;
  std::string blocks;
  std::uint64_t samples = 0, next_ordinal = 0, last_end = 0;

  /// What many videos have in common is written once.
  std::string profile_of(const VideoRecord& video) {
    IndexBytes out;
    for (const std::string* word :
         {&video.field, &video.codec, &video.container, &video.pixel_format, &video.color_matrix,
          &video.color_range, &video.color_primaries, &video.color_transfer}) {
      out.number(strings.number_of(*word));
    }
    for (const std::uint32_t value : {video.coded_width, video.coded_height, video.display_width,
                                      video.display_height, video.quarter_turns}) {
      out.number(value);
    }
    out.number(
        (video.mirror ? kProfileMirror : 0) | (video.constant_rate ? kProfileConstantRate : 0) |
        (video.direct ? kProfileDirect : 0) | (video.times_unused ? kProfileTimesUnused : 0));
    for (const Rational& rational : {video.time_base, video.frame_rate}) {
      out.number(static_cast<std::uint32_t>(rational.numerator));
      out.number(static_cast<std::uint32_t>(rational.denominator));
    }
    return out.take();
  }

  void append_field(const IndexedField& field, std::uint64_t& last) {
    rows.number(strings.number_of(field.name));
    rows.number((field.contiguous ? 0 : kFieldScattered) |
                (field.written_name.empty() ? 0 : kFieldRenamed));
    if (!field.written_name.empty()) rows.number(strings.number_of(field.written_name));
    rows.signed_number(static_cast<std::int64_t>(field.offset - last));
    if (field.contiguous) rows.number(field.content_offset - field.offset);
    rows.number(field.size);
    last = field.contiguous ? padded_end(field.content_offset, field.size) : field.offset;
  }

  void append_video(const VideoRecord& video, std::span<const PacketRecord> packets) {
    const PackedBlock block = pack_block(video, packets);
    rows.number(profiles.number_of(profile_of(video)));
    rows.number(static_cast<std::uint64_t>(video.frame_count));
    rows.real(video.duration_seconds);
    rows.number(packets.size());
    rows.number(video.keyframes.size());
    rows.number(block.stored.size());
    rows.number(block.raw_bytes);
    rows.word(index_hash(block.stored), 8);
    blocks += block.stored;
  }

  void append_failure(const IndexedSample& sample) {
    const Error none{ErrorCode::kNoVideo, "no field of the sample is a video", {}, {}, {}};
    const Error& failure = sample.failure ? *sample.failure : none;
    rows.number(strings.number_of(std::string(to_string(failure.code))));
    rows.text(failure.message);
    rows.number(failure.offset ? 1 : 0);
    if (failure.offset) rows.number(*failure.offset);
  }
};

ShardIndexWriter::ShardIndexWriter(ShardIdentity shard, bool seekable,
                                   std::vector<std::string> video_fields)
    : state_(std::make_unique<State>()) {
  state_->shard = shard;
  state_->seekable = seekable;
  state_->video_fields = std::move(video_fields);
}
ShardIndexWriter::ShardIndexWriter(ShardIndexWriter&&) noexcept = default;
ShardIndexWriter::~ShardIndexWriter() = default;

Result<void> ShardIndexWriter::add(const IndexedSample& sample, const VideoRecord* video,
                                   std::span<const PacketRecord> packets) {
  State& to = *state_;
  if (sample.ordinal < to.next_ordinal) return bad_row(sample, "its ordinal does not ascend");
  if (sample.end_offset < sample.offset) return bad_row(sample, "it ends before it begins");
  if (video != nullptr) {
    if (packets.size() != video->packet_count) return bad_row(sample, "its packets do not add up");
    if (video->frame_count < 0 || !std::isfinite(video->duration_seconds) ||
        video->duration_seconds < 0 || video->time_base.numerator < 0 ||
        video->time_base.denominator < 1 || video->frame_rate.numerator < 0 ||
        video->frame_rate.denominator < 1 || video->quarter_turns > 3) {
      return Error{ErrorCode::kUnsupported, "the facts of the video make no sense", {}, {}, {}}.at(
          {}, sample.key);
    }
  }
  to.rows.number(sample.ordinal - to.next_ordinal);
  to.rows.signed_number(static_cast<std::int64_t>(sample.offset - to.last_end));
  to.rows.number(sample.end_offset - sample.offset);
  to.rows.text(sample.key);
  to.rows.number(sample.fields.size());
  std::uint64_t last = sample.offset;
  for (const IndexedField& field : sample.fields) to.append_field(field, last);
  to.rows.number(video != nullptr ? kRowVideo : kRowFailed);
  if (video != nullptr) {
    to.append_video(*video, packets);
  } else {
    to.append_failure(sample);
  }
  to.next_ordinal = sample.ordinal + 1;
  to.last_end = sample.end_offset;
  ++to.samples;
  return {};
}

std::string ShardIndexWriter::finish() {
  State& from = *state_;
  IndexBytes directory;
  directory.number(from.video_fields.size());
  for (const std::string& field : from.video_fields) directory.text(field);
  directory.number(from.strings.order().size());
  for (const std::string* text : from.strings.order()) directory.text(*text);
  directory.number(from.profiles.order().size());
  for (const std::string* profile : from.profiles.order()) directory.append(*profile);
  directory.append(from.rows.bytes());

  IndexBytes file;
  file.append(kIndexMagic);
  file.word(kIndexVersion, 4);
  file.word(from.seekable ? kIndexSeekable : 0, 4);
  file.word(from.shard.bytes, 8);
  file.word(from.shard.fingerprint, 8);
  file.word(from.samples, 8);
  file.word(directory.bytes().size(), 8);
  file.word(index_hash(directory.bytes()), 8);
  file.word(from.blocks.size(), 8);
  file.word(index_hash(file.bytes()), 8);
  file.append(directory.bytes());
  file.append(from.blocks);
  from = State();
  return file.take();
}

Result<void> write_index_file(const std::string& path, std::string_view bytes) {
  const std::filesystem::path target(path);
  const std::string folder = target.has_parent_path() ? target.parent_path().string() : ".";
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) return system_error(fmt::format("making the folder '{}'", folder), failed.value());
  // Two threads, or two runs, that write the same index do not write into each other's file.
  static std::atomic<std::uint64_t> counter{0};
  const std::string temporary =
      fmt::format("{}/.{}.partial-{}-{}", folder, target.filename().string(), getpid(), ++counter);
  UniqueFd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!fd) return system_error(fmt::format("making '{}'", temporary), errno);
  auto written =
      write_at(fd.get(), 0, std::as_bytes(std::span(bytes)), fmt::format("'{}'", temporary));
  if (written && fsync(fd.get()) != 0) {
    written = system_error(fmt::format("syncing '{}'", temporary), errno);
  }
  if (written && rename(temporary.c_str(), path.c_str()) != 0) {
    written = system_error(fmt::format("renaming '{}' to '{}'", temporary, path), errno);
  }
  if (!written) {
    unlink(temporary.c_str());
    return written;
  }
  const UniqueFd directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || fsync(directory.get()) != 0) {
    return system_error(fmt::format("syncing the folder '{}'", folder), errno);
  }
  return {};
}

}  // namespace shardreel
