#include "tests/shards/index_testing.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

namespace shardreel::testing {
namespace {

/// A number of any size: as many small ones as huge ones.
std::uint64_t any_number(std::mt19937_64& random, unsigned bits = 64) {
  const std::uint64_t value = random();
  const unsigned keep = static_cast<unsigned>(random() % (bits + 1));
  return keep == 0 ? 0 : value >> (64 - keep);
}

std::int64_t any_time(std::mt19937_64& random) {
  if (random() % 8 == 0) return kNoTimestamp;
  return static_cast<std::int64_t>(any_number(random)) * (random() % 2 == 0 ? 1 : -1);
}

std::string any_text(std::mt19937_64& random) {
  std::string text(random() % 12, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

Rational any_rational(std::mt19937_64& random) {
  return {static_cast<std::int32_t>(any_number(random, 31)),
          static_cast<std::int32_t>(any_number(random, 30)) + 1};
}

VideoRecord any_video(std::mt19937_64& random) {
  VideoRecord video;
  for (std::string* word :
       {&video.codec, &video.container, &video.pixel_format, &video.color_matrix,
        &video.color_range, &video.color_primaries, &video.color_transfer}) {
    *word = random() % 4 == 0 ? any_text(random) : std::string("h264");
  }
  for (std::uint32_t* size :
       {&video.coded_width, &video.coded_height, &video.display_width, &video.display_height}) {
    *size = static_cast<std::uint32_t>(any_number(random, 32));
  }
  video.quarter_turns = static_cast<std::uint32_t>(random() % 4);
  video.mirror = random() % 2 == 0;
  video.constant_rate = random() % 2 == 0;
  video.times_unused = random() % 2 == 0;
  video.direct = random() % 2 == 0;
  video.time_base = any_rational(random);
  video.frame_rate = any_rational(random);
  video.frame_count = static_cast<std::int64_t>(any_number(random, 63));
  video.duration_seconds = static_cast<double>(any_number(random)) / 7;
  video.keyframes.resize(random() % 5);
  for (auto& key : video.keyframes) {
    key = {any_time(random), any_time(random), any_number(random), random() % 2 == 0};
  }
  video.codec_parameters = any_text(random);
  return video;
}

}  // namespace

std::shared_ptr<const RandomAccess> bytes_of(const std::string& bytes) {
  auto block = heap_allocator().try_allocate(bytes.size());
  std::memcpy(block->span().data(), bytes.data(), bytes.size());
  return memory_source(std::make_shared<const OwnedBytes>(std::move(*block)));
}

IndexedShard random_shard(std::mt19937_64& random, std::size_t samples) {
  IndexedShard shard;
  shard.seekable = random() % 2 == 0;
  for (std::uint64_t i = random() % 4; i > 0; --i) shard.video_fields.push_back(any_text(random));
  std::uint64_t ordinal = 0, end = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    SampleToIndex row;
    IndexedSample& sample = row.sample;
    sample.key = any_text(random);
    sample.ordinal = ordinal += random() % 3 == 0 ? random() % 1000 : 0;
    ++ordinal;
    sample.offset = end + random() % 3 * 512;
    end = sample.offset;
    for (std::uint64_t n = random() % 4; n > 0; --n) {
      IndexedField field;
      field.name = fmt::format("f{}", n);
      if (random() % 4 == 0) field.written_name = fmt::format("F{}", n);
      field.offset = end + random() % 3 * 512;
      field.contiguous = random() % 4 != 0;
      if (field.contiguous) field.content_offset = field.offset + 512 * (1 + random() % 3);
      field.size = any_number(random, 40);
      end = field.offset + 2048 + (field.size + 511) / 512 * 512;
      sample.fields.push_back(field);
    }
    sample.end_offset = end;
    if (!sample.fields.empty() && random() % 4 != 0) {
      sample.video = true;
      row.video = any_video(random);
      row.video.field = sample.fields[random() % sample.fields.size()].name;
      row.packets.resize(random() % 40);
      for (auto& packet : row.packets) {
        packet = {any_time(random), any_time(random), any_number(random),
                  static_cast<std::uint32_t>(any_number(random, 32)),
                  static_cast<std::uint32_t>(any_number(random, 32))};
      }
      row.video.packet_count = row.packets.size();
    } else {
      Error failure{static_cast<ErrorCode>(random() % 20), any_text(random), {}, sample.key, {}};
      if (random() % 2 == 0) failure.offset = any_number(random);
      sample.failure = failure;
    }
    shard.samples.push_back(std::move(row));
  }
  shard.identity = {end + 1024, random()};
  return shard;
}

SampleToIndex plain_sample(std::size_t i, std::uint64_t offset, int frames, int gop,
                           std::mt19937_64& random) {
  SampleToIndex row;
  VideoRecord& video = row.video;
  video.field = "mp4";
  video.codec = "h264";
  video.container = "mov,mp4,m4a,3gp,3g2,mj2";
  video.coded_width = video.display_width = 340;
  video.coded_height = video.display_height = 256;
  video.pixel_format = "yuv420p";
  video.color_matrix = video.color_range = video.color_primaries = video.color_transfer = "unknown";
  video.time_base = {1, 15360};
  video.frame_rate = {30, 1};
  video.constant_rate = video.direct = true;
  video.frame_count = frames;
  video.duration_seconds = frames / 30.0;
  video.packet_count = static_cast<std::uint64_t>(frames);
  video.codec_parameters.resize(96);  // as large as a real one
  for (char& c : video.codec_parameters) c = static_cast<char>(random() % 7);
  std::uint64_t at = 48;
  for (int n = 0; n < frames; ++n) {
    const bool key = n % gop == 0, b_frame = !key && n % 3 != 1;
    const std::uint64_t size = key       ? 9000 + random() % 4000
                               : b_frame ? 100 + random() % 400
                                         : 900 + random() % 1500;
    const std::int64_t dts = 512 * (n - 2);
    row.packets.push_back({dts + 512 * (key || b_frame ? 2 : 4), dts, at,
                           static_cast<std::uint32_t>(size), key ? 1U : 2U});
    if (key) video.keyframes.push_back({n, row.packets.back().pts, at, false});
    at += size + (n % 12 == 11 ? 2048 : 0);  // audio lies in between
  }
  IndexedSample& sample = row.sample;
  sample.key = fmt::format("kitchen/clip_{:06}", i);
  sample.ordinal = i;
  sample.offset = offset;
  for (const auto& [name, size] : {std::pair<const char*, std::uint64_t>{"cls", 3},
                                   {"json", 200 + random() % 100},
                                   {"mp4", at}}) {
    IndexedField field;
    field.name = name;
    field.offset = offset;
    field.content_offset = offset + 512;
    field.size = size;
    offset += 512 + (size + 511) / 512 * 512;
    sample.fields.push_back(field);
  }
  sample.end_offset = offset;
  sample.video = true;
  return row;
}

IndexedShard plain_shard(std::size_t samples, int frames, int gop) {
  std::mt19937_64 random(1);
  IndexedShard shard;
  shard.video_fields = {"mp4"};
  std::uint64_t offset = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    shard.samples.push_back(plain_sample(i, offset, frames, gop, random));
    offset = shard.samples.back().sample.end_offset;
  }
  shard.identity = {offset + 10240, 0x0123456789abcdef};
  return shard;
}

std::string resealed(std::string bytes) {
  constexpr std::size_t kHeader = 72;
  if (bytes.size() < kHeader) return bytes;
  const auto put = [&bytes](std::size_t at, std::uint64_t value) {
    for (std::size_t i = 0; i < 8; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
  };
  const auto get = [&bytes](std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      value |= std::uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
    }
    return value;
  };
  const std::uint64_t directory = std::min<std::uint64_t>(get(40), bytes.size() - kHeader);
  put(48, XXH3_64bits(bytes.data() + kHeader, static_cast<std::size_t>(directory)));
  put(64, XXH3_64bits(bytes.data(), 64));
  return bytes;
}

std::string write_index(const IndexedShard& shard) {
  ShardIndexWriter writer(shard.identity, shard.seekable, shard.video_fields);
  for (const auto& row : shard.samples) {
    writer.add(row.sample, row.sample.video ? &row.video : nullptr, row.packets).value();
  }
  return writer.finish();
}

std::string identical(const ShardIndex& index, std::uint64_t i, const SampleToIndex& expected) {
  const IndexedSample& e = expected.sample;
  const IndexedSample s = index.sample(i);
  if (s.key != e.key || s.ordinal != e.ordinal || s.offset != e.offset ||
      s.end_offset != e.end_offset || s.video != e.video) {
    return fmt::format("key, place or kind ({} at {})", s.key, s.offset);
  }
  if (s.fields.size() != e.fields.size()) return "number of fields";
  for (std::size_t n = 0; n < s.fields.size(); ++n) {
    const IndexedField &a = s.fields[n], &b = e.fields[n];
    if (a.name != b.name || a.written_name != b.written_name || a.offset != b.offset ||
        a.content_offset != b.content_offset || a.size != b.size || a.contiguous != b.contiguous) {
      return fmt::format("field {}", b.name);
    }
  }
  if (!e.video) {
    if (!s.failure || index.video(i) || index.read_video(i)) return "a failure is not one";
    return s.failure->code == e.failure->code && s.failure->message == e.failure->message &&
                   s.failure->offset == e.failure->offset
               ? ""
               : "the failure";
  }
  if (s.failure || !index.video(i)) return "a video is a failure";
  auto whole = index.read_video(i);
  if (!whole) return whole.error().message;
  const VideoRecord quick = *index.video(i);
  if (!quick.keyframes.empty() || !quick.codec_parameters.empty()) return "facts too many";
  const VideoRecord& want = expected.video;
  for (const VideoRecord* video : {&quick, &std::as_const(whole->record)}) {
    const auto facts = [](const VideoRecord& v) {
      return std::tie(v.field, v.codec, v.container, v.coded_width, v.coded_height, v.display_width,
                      v.display_height, v.quarter_turns, v.mirror, v.pixel_format, v.color_matrix,
                      v.color_range, v.color_primaries, v.color_transfer, v.time_base.numerator,
                      v.time_base.denominator, v.frame_rate.numerator, v.frame_rate.denominator,
                      v.constant_rate, v.times_unused, v.frame_count, v.duration_seconds,
                      v.packet_count, v.direct);
    };
    if (facts(*video) != facts(want)) return "facts of the video";
  }
  if (whole->record.codec_parameters != want.codec_parameters) return "codec parameters";
  if (whole->record.keyframes.size() != want.keyframes.size()) return "number of keyframes";
  for (std::size_t n = 0; n < want.keyframes.size(); ++n) {
    const KeyframeRecord &a = whole->record.keyframes[n], &b = want.keyframes[n];
    if (a.frame != b.frame || a.pts != b.pts || a.offset != b.offset || a.open != b.open) {
      return fmt::format("keyframe {}", n);
    }
  }
  if (whole->packets.size() != expected.packets.size()) return "number of packets";
  for (std::size_t n = 0; n < whole->packets.size(); ++n) {
    const PacketRecord &a = whole->packets[n], &b = expected.packets[n];
    if (a.pts != b.pts || a.dts != b.dts || a.offset != b.offset || a.size != b.size ||
        a.flags != b.flags) {
      return fmt::format("packet {}", n);
    }
  }
  return "";
}

}  // namespace shardreel::testing
