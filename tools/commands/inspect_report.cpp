#include "tools/commands/inspect_report.h"

#include <fmt/format.h>

#include <cstdio>

#include "shardreel/units.h"
#include "tools/commands/text_json.h"

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kKeyWidth = 36, kFieldsWidth = 60;
constexpr std::size_t kMostTotals = 20;  // fields listed at the end

Json error_json(const Error& error) {
  return {{"code", std::string(to_string(error.code))}, {"message", printable_utf8(error.message)}};
}

std::string line_of(const Json& json) { return json.dump() + "\n"; }

/// A name for a member of `fields`: bad bytes are replaced, so names may fall together.
std::string member_name(const Json& fields, const std::string& name) {
  const std::string shown = printable_utf8(name);
  std::string unique = shown;
  for (int i = 2; fields.contains(unique); ++i) unique = fmt::format("{}~{}", shown, i);
  return unique;
}

std::string rate_text(const VideoRecord& record) {
  if (record.frame_rate.numerator <= 0 || record.frame_rate.denominator <= 0) return "-";
  return fmt::format(
      "{:.4g}{}", static_cast<double>(record.frame_rate.numerator) / record.frame_rate.denominator,
      record.constant_rate ? "" : "~");
}

}  // namespace

std::string sample_line(const InspectedSample& inspected) {
  const Sample& sample = inspected.walked->sample;
  const auto& field_shards = inspected.walked->field_shards;
  Json json;
  add_text(json, "shard", sample.shard);
  add_text(json, "key", sample.key);
  json["ordinal"] = sample.ordinal;
  json["offset"] = sample.offset;
  Json& fields = json["fields"] = Json::object();
  for (std::size_t i = 0; i < sample.fields.size(); ++i) {
    const Field& field = sample.fields[i];
    Json entry;
    if (!is_utf8(field.name)) {
      Json exact;
      add_text(exact, "name", field.name);
      entry["name_hex"] = exact["name_hex"];
    }
    if (!field_shards.empty() && field_shards[i] != sample.shard)
      add_text(entry, "shard", field_shards[i]);
    entry["offset"] = field.offset;
    entry["size"] = field.size;
    if (i < inspected.sha256.size()) entry["sha256"] = inspected.sha256[i];
    fields[member_name(fields, field.name)] = std::move(entry);
  }
  if (inspected.video) {
    if (*inspected.video)
      json["video"] = to_json(**inspected.video);
    else
      json["video"] = {{"error", error_json(inspected.video->error())}};
  }
  return line_of(json);
}

std::string failure_line(const FailedSample& failure) {
  Json json;
  add_text(json, "shard", failure.error.shard);
  if (failure.error.key.empty())
    json["key"] = nullptr;
  else
    add_text(json, "key", failure.error.key);
  json["ordinal"] = failure.ordinal;
  if (failure.error.offset)
    json["offset"] = *failure.error.offset;
  else
    json["offset"] = nullptr;
  json["error"] = error_json(failure.error);
  return line_of(json);
}

void InspectTable::begin_shard(const std::string& shard) {
  if (shard == shard_) return;
  shard_ = shard;
  fmt::print("{}\n  {} {:<9} {:>11} {:>7} {:>8} {:>9}  {}\n", for_terminal(shard),
             padded("key", kKeyWidth), "codec", "shown", "fps", "frames", "seconds", "fields");
}

void InspectTable::add(const InspectedSample& inspected) {
  const Sample& sample = inspected.walked->sample;
  begin_shard(sample.shard);
  ++samples_;
  std::string fields;
  for (const Field& field : sample.fields) {
    bytes_ += field.size;
    // A hostile archive may have a new name in every sample.
    constexpr std::size_t kMostNames = 10000;
    if (fields_.size() < kMostNames || fields_.contains(field.name)) {
      FieldTotal& total = fields_[field.name];
      ++total.count;
      total.bytes += field.size;
    }
    if (fields.size() > 4 * kFieldsWidth) continue;
    if (!fields.empty()) fields += ", ";
    fields += fmt::format("{} {}", for_terminal(field.name), format_bytes(field.size));
  }
  if (!inspected.walked->field_shards.empty()) fields = "(of two shards) " + fields;
  std::string codec = "-", shown = "-", rate = "-", frames = "-", seconds = "-";
  if (inspected.video && *inspected.video) {
    const VideoRecord& record = (*inspected.video)->record;
    ++videos_;
    ++codecs_[record.codec];
    frames_ += record.frame_count;
    seconds_ += record.duration_seconds;
    codec = record.codec;
    shown = fmt::format("{}x{}", record.display_width, record.display_height);
    rate = rate_text(record);
    frames = fmt::format("{}", record.frame_count);
    seconds = fmt::format("{:.2f}", record.duration_seconds);
    times_unused_ += record.times_unused ? 1 : 0;
  } else if (inspected.video) {
    ++bad_videos_;
    codec = "BAD";
  }
  fmt::print("  {} {:<9} {:>11} {:>7} {:>8} {:>9}  {}\n",
             padded(shortened(for_terminal(sample.key), kKeyWidth), kKeyWidth), shortened(codec, 9),
             shown, rate, frames, seconds, shortened(fields, kFieldsWidth));
  for (std::size_t i = 0; i < inspected.sha256.size(); ++i)
    fmt::print("    sha256 {}  {}\n", inspected.sha256[i], for_terminal(sample.fields[i].name));
  if (inspected.video && *inspected.video && (*inspected.video)->facts.video_streams > 1)
    fmt::print("    {} video streams; stream {} is taken\n",
               (*inspected.video)->facts.video_streams, (*inspected.video)->facts.stream_number);
  if (inspected.video && !*inspected.video)
    fmt::print("    the video cannot be read ({}): {}\n", to_string(inspected.video->error().code),
               for_terminal(inspected.video->error().message));
}

void InspectTable::add_failure(const FailedSample& failure) {
  begin_shard(failure.error.shard);
  ++failures_;
  fmt::print("  {} FAILED at byte {}: {}{}\n",
             padded(shortened(for_terminal(failure.error.key), kKeyWidth), kKeyWidth),
             failure.error.offset ? fmt::format("{}", *failure.error.offset) : "?",
             for_terminal(failure.error.message), failure.fatal ? " (the shard ends here)" : "");
}

void InspectTable::print_totals() const {
  fmt::print("{} samples in {} shards, {} in their fields", samples_, shards_,
             format_bytes(bytes_));
  if (failures_ > 0) fmt::print("; {} FAILURES", failures_);
  fmt::print("\n");
  std::size_t shown = 0;
  for (const auto& [name, total] : fields_) {
    if (shown++ == kMostTotals) {
      fmt::print("  ... and {} more fields\n", fields_.size() - kMostTotals);
      break;
    }
    fmt::print("  {} {:>9} samples {:>12}\n", padded(shortened(for_terminal(name), 24), 24),
               total.count, format_bytes(total.bytes));
  }
  if (videos_ + bad_videos_ == 0) return;
  fmt::print("{} videos, {} frames, {:.1f} s:", videos_, frames_, seconds_);
  for (const auto& [codec, count] : codecs_) fmt::print(" {} {}", codec, count);
  if (bad_videos_ > 0) fmt::print("; {} videos that CANNOT BE READ", bad_videos_);
  if (times_unused_ > 0)
    fmt::print("; the stored times of {} do not tell the order of frames, and are not used",
               times_unused_);
  fmt::print("\n");
}

}  // namespace shardreel::tools
