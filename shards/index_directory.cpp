#include "shards/index_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "shardreel/units.h"
#include "shards/index_block.h"
#include "shards/index_layout.h"

namespace shardreel {
namespace {

constexpr std::uint64_t kMost32 = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kMost31 = std::numeric_limits<std::int32_t>::max();
constexpr std::uint64_t kMost63 = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kProfileBytes = 18;  // no profile is shorter: one byte a number

/// The code of this name; a later version may know more than this one.
ErrorCode code_of(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    if (to_string(static_cast<ErrorCode>(i)) == name) return static_cast<ErrorCode>(i);
  }
  return ErrorCode::kInternal;
}

std::uint32_t number32(IndexCursor& in) {
  return static_cast<std::uint32_t>(in.number_up_to(kMost32));
}

Rational rational(IndexCursor& in) {
  Rational value;
  value.numerator = static_cast<std::int32_t>(in.number_up_to(kMost31));
  value.denominator = static_cast<std::int32_t>(in.number_up_to(kMost31));
  if (value.denominator == 0) in.fail();
  return value;
}

/// Put the sum into `total`; false when it does not fit.
bool add_up(std::uint64_t& total, std::uint64_t more) {
  const auto sum = checked_add(total, more);
  if (sum) total = *sum;
  return sum.has_value();
}

}  // namespace

std::optional<std::string> IndexDirectory::parse(std::string bytes, std::uint64_t samples,
                                                 std::uint64_t content_bytes,
                                                 std::uint64_t block_bytes) {
  bytes_ = std::move(bytes);
  content_bytes_ = content_bytes;
  IndexCursor in(bytes_);
  if (!parse_tables(in)) return "the tables at its beginning make no sense";
  if (samples > in.left() / kIndexRowBytes) {
    return fmt::format("{} bytes of directory cannot hold {} samples", bytes_.size(), samples);
  }
  rows_.reserve(static_cast<std::size_t>(samples));
  ParsedRow row;
  IndexRow next;
  for (std::uint64_t i = 0; i < samples; ++i) {
    next.at = in.position();
    if (!parse_row(in, next.last_end, row) || !add_up(next.ordinal, row.ordinal_gap)) {
      return fmt::format("the row of sample {} at byte {} of the directory makes no sense", i,
                         next.at);
    }
    rows_.push_back(next);
    if (row.video) next.block_offset += row.block.stored_bytes;
    if (next.block_offset > block_bytes ||
        next.ordinal == std::numeric_limits<std::uint64_t>::max()) {
      return fmt::format("the row of sample {} claims more than the file has", i);
    }
    ++next.ordinal;
    next.last_end = row.end_offset;
    add_to_totals(row);
  }
  if (in.left() != 0) return fmt::format("{} bytes behind its last row", in.left());
  if (next.block_offset != block_bytes) {
    return fmt::format("its rows name {} bytes of blocks; the file has {}", next.block_offset,
                       block_bytes);
  }
  return std::nullopt;
}

bool IndexDirectory::parse_tables(IndexCursor& in) {
  const auto texts = [&in](std::vector<std::string>& into) {
    const std::uint64_t count = in.count_of(1);
    for (std::uint64_t i = 0; i < count && in.good(); ++i) into.emplace_back(in.text());
  };
  texts(video_fields_);
  texts(strings_);
  const std::uint64_t count = in.count_of(kProfileBytes);
  for (std::uint64_t i = 0; i < count && in.good(); ++i) {
    if (!parse_profile(in)) return false;
  }
  return in.good();
}

bool IndexDirectory::parse_profile(IndexCursor& in) {
  const auto string_number = [&] {
    const std::uint64_t number = in.number();
    if (number >= strings_.size()) in.fail();
    return number;
  };
  Profile profile;
  VideoRecord& video = profile.record;
  profile.field = string_number();
  if (!in.good()) return false;
  video.field = strings_[profile.field];
  for (std::string* word :
       {&video.codec, &video.container, &video.pixel_format, &video.color_matrix,
        &video.color_range, &video.color_primaries, &video.color_transfer}) {
    const std::uint64_t number = string_number();
    if (!in.good()) return false;
    *word = strings_[number];
  }
  video.coded_width = number32(in);
  video.coded_height = number32(in);
  video.display_width = number32(in);
  video.display_height = number32(in);
  video.quarter_turns = static_cast<std::uint32_t>(in.number_up_to(3));
  const std::uint64_t bits =
      in.number_up_to(kProfileMirror | kProfileConstantRate | kProfileDirect | kProfileTimesUnused);
  video.mirror = (bits & kProfileMirror) != 0;
  video.constant_rate = (bits & kProfileConstantRate) != 0;
  video.direct = (bits & kProfileDirect) != 0;
  video.times_unused = (bits & kProfileTimesUnused) != 0;
  video.time_base = rational(in);
  video.frame_rate = rational(in);
  if (in.good()) profiles_.push_back(std::move(profile));
  return in.good();
}

bool IndexDirectory::parse_field(IndexCursor& in, std::uint64_t& last,
                                 ParsedRow::FieldView& field) const {
  field.name = in.number();
  const std::uint64_t bits = in.number_up_to(kFieldScattered | kFieldRenamed);
  field.contiguous = (bits & kFieldScattered) == 0;
  field.renamed = (bits & kFieldRenamed) != 0;
  field.written_name = field.renamed ? in.number() : 0;
  field.offset = last + static_cast<std::uint64_t>(in.signed_number());
  const std::uint64_t header = field.contiguous ? in.number() : 0;
  field.size = in.number();
  field.content_offset = 0;
  if (!in.good() || std::max(field.name, field.written_name) >= strings_.size() ||
      field.offset > content_bytes_ || header > content_bytes_ - field.offset) {
    return false;
  }
  last = field.offset;
  if (!field.contiguous) return true;
  field.content_offset = field.offset + header;
  if (field.size > content_bytes_ - field.content_offset) return false;
  last = padded_end(field.content_offset, field.size);
  return true;
}

bool IndexDirectory::parse_video(IndexCursor& in, ParsedRow& row) const {
  row.profile = in.number();
  row.frame_count = static_cast<std::int64_t>(in.number_up_to(kMost63));
  row.seconds = in.real();
  row.packets = in.number();
  row.block.keyframes = in.number();
  row.block.stored_bytes = in.number();
  row.block.raw_bytes = in.number();
  row.block.hash = in.word(8);
  if (!in.good() || row.profile >= profiles_.size() || !std::isfinite(row.seconds) ||
      row.seconds < 0 ||
      !block_is_possible(row.block.stored_bytes, row.block.raw_bytes, row.packets,
                         row.block.keyframes)) {
    return false;
  }
  const std::uint64_t name = profiles_[row.profile].field;
  return std::any_of(row.fields.begin(), row.fields.end(),
                     [name](const auto& field) { return field.name == name; });
}

bool IndexDirectory::parse_row(IndexCursor& in, std::uint64_t last_end, ParsedRow& row) const {
  row.ordinal_gap = in.number();
  row.offset = last_end + static_cast<std::uint64_t>(in.signed_number());
  const std::uint64_t bytes = in.number();
  row.key = in.text();
  if (!in.good() || row.offset > content_bytes_ || bytes > content_bytes_ - row.offset) {
    return false;
  }
  row.end_offset = row.offset + bytes;
  const std::uint64_t fields = in.count_of(4);
  row.fields.clear();
  std::uint64_t last = row.offset;
  for (std::uint64_t i = 0; i < fields; ++i) {
    if (!parse_field(in, last, row.fields.emplace_back())) return false;
  }
  row.video = in.number_up_to(kRowVideo) == kRowVideo;
  row.failure_offset.reset();
  if (row.video) return parse_video(in, row);
  row.failure_code = in.number();
  row.failure_message = in.text();
  if (in.number_up_to(1) == 1) row.failure_offset = in.number();
  return in.good() && row.failure_code < strings_.size();
}

void IndexDirectory::add_to_totals(const ParsedRow& row) {
  ++totals_.samples;
  if (!row.video) {
    ++totals_.failures;
    return;
  }
  ++totals_.videos;
  // Modulo 2^64 where a hostile file claims that much.
  totals_.frames += static_cast<std::uint64_t>(row.frame_count);
  totals_.packets += row.packets;
  totals_.keyframes += row.block.keyframes;
  totals_.seconds += row.seconds;
  const std::uint64_t name = profiles_[row.profile].field;
  const auto field = std::find_if(row.fields.begin(), row.fields.end(),
                                  [name](const auto& each) { return each.name == name; });
  totals_.video_bytes += field->size;
}

std::uint64_t IndexDirectory::memory_bytes() const {
  std::uint64_t bytes = sizeof *this + bytes_.capacity() + rows_.capacity() * sizeof(IndexRow) +
                        profiles_.capacity() * sizeof(Profile);
  for (const auto& text : strings_) bytes += sizeof text + text.capacity();
  return bytes;
}

void IndexDirectory::read_row(std::uint64_t i, ParsedRow& into) const {
  const IndexRow& row = rows_[static_cast<std::size_t>(i)];
  IndexCursor in(bytes_, static_cast<std::size_t>(row.at));
  parse_row(in, row.last_end, into);
}

std::string_view IndexDirectory::key(std::uint64_t i) const {
  IndexCursor in(bytes_, static_cast<std::size_t>(rows_[static_cast<std::size_t>(i)].at));
  in.number();
  in.number();
  in.number();
  return in.text();
}

IndexedSample IndexDirectory::sample(std::uint64_t i) const {
  ParsedRow row;
  read_row(i, row);
  IndexedSample sample;
  sample.key = row.key;
  sample.ordinal = rows_[static_cast<std::size_t>(i)].ordinal;
  sample.offset = row.offset;
  sample.end_offset = row.end_offset;
  for (const auto& view : row.fields) {
    IndexedField field;
    field.name = strings_[view.name];
    if (view.renamed) field.written_name = strings_[view.written_name];
    field.offset = view.offset;
    field.content_offset = view.content_offset;
    field.size = view.size;
    field.contiguous = view.contiguous;
    sample.fields.push_back(std::move(field));
  }
  sample.video = row.video;
  if (!row.video) {
    sample.failure = Error{code_of(strings_[row.failure_code]),
                           std::string(row.failure_message),
                           {},
                           sample.key,
                           row.failure_offset};
  }
  return sample;
}

VideoRecord IndexDirectory::video(const ParsedRow& row) const {
  VideoRecord video = profiles_[row.profile].record;
  video.frame_count = row.frame_count;
  video.duration_seconds = row.seconds;
  video.packet_count = row.packets;
  return video;
}

}  // namespace shardreel
