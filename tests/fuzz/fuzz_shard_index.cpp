// A hostile index: any bytes as they are, with checksums put right, and as a video's block. What
// must hold: it is refused or read, nothing in it leads outside the shard it claims to be of, and
// memory stays within a multiple of its size.
#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "shardreel/shard_index.h"
#include "shards/index_block.h"

namespace {

using namespace shardreel;

constexpr std::size_t kHeaderBytes = 72;

void require(bool held) {
  if (!held) std::abort();
}

std::shared_ptr<const RandomAccess> source_of(const std::string& text) {
  auto bytes = heap_allocator().try_allocate(text.size());
  if (!text.empty()) std::memcpy(bytes->span().data(), text.data(), text.size());
  return memory_source(std::make_shared<const OwnedBytes>(std::move(*bytes)));
}

/// Put the checksums of header and directory right, so that what they hold is looked at.
void reseal(std::string& text) {
  if (text.size() < kHeaderBytes) return;
  std::uint64_t directory = 0;
  std::memcpy(&directory, text.data() + 40, sizeof directory);
  directory = std::min<std::uint64_t>(directory, text.size() - kHeaderBytes);
  std::uint64_t hash = XXH3_64bits(text.data() + kHeaderBytes, directory);
  std::memcpy(text.data() + 48, &hash, sizeof hash);
  hash = XXH3_64bits(text.data(), 64);
  std::memcpy(text.data() + 64, &hash, sizeof hash);
}

void read_all(const std::string& text) {
  const auto index = ShardIndex::load(source_of(text), "fuzz");
  if (!index) {
    require(index.error().message.find("fuzz") != std::string::npos);
    return;
  }
  require(index->memory_bytes() <= 64 * text.size() + 4096);
  require(index->count() == index->totals().samples);
  std::uint64_t next = 0, videos = 0;
  for (std::uint64_t i = 0; i < index->count(); ++i) {
    const IndexedSample sample = index->sample(i);
    require(sample.ordinal >= next && sample.offset <= sample.end_offset);
    next = sample.ordinal + 1;
    require(index->find_ordinal(sample.ordinal) == i);
    require(*index->find(sample.key) <= i);
    require(sample.video != sample.failure.has_value());
    const auto video = index->video(i);
    require(video.has_value() == sample.video);
    bool found = false;
    for (const IndexedField& field : sample.fields) {
      found |= video && field.name == video->field;
      if (!index->seekable() || !field.contiguous) continue;
      require(field.content_offset <= index->shard().bytes &&
              field.size <= index->shard().bytes - field.content_offset);
    }
    require(found == sample.video);
    if (!sample.video || ++videos > 16) continue;
    const auto whole = index->read_video(i);
    require(!whole || whole->packets.size() == video->packet_count);
  }
}

void read_block(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kNumbers = 6;
  if (size < kNumbers) return;
  const std::uint64_t raw = data[0] | std::uint64_t{data[1]} << 8 | std::uint64_t{data[2]} << 16;
  VideoRecord video;
  video.packet_count = data[3] | std::uint64_t{data[4]} << 8;
  const std::uint64_t keyframes = data[5];
  const std::string_view stored(reinterpret_cast<const char*>(data) + kNumbers, size - kNumbers);
  if (!block_is_possible(stored.size(), raw, video.packet_count, keyframes)) return;
  std::vector<PacketRecord> packets;
  if (!unpack_block(stored, raw, keyframes, video, packets)) return;
  // What was read is written back as the same numbers.
  const PackedBlock again = pack_block(video, packets);
  VideoRecord second;
  second.packet_count = packets.size();
  std::vector<PacketRecord> same;
  require(unpack_block(again.stored, again.raw_bytes, keyframes, second, same));
  require(second.codec_parameters == video.codec_parameters && same.size() == packets.size());
  for (std::size_t i = 0; i < same.size(); ++i) {
    require(same[i].pts == packets[i].pts && same[i].dts == packets[i].dts &&
            same[i].offset == packets[i].offset && same[i].size == packets[i].size &&
            same[i].flags == packets[i].flags);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // The first byte says what the rest is.
  if (data[0] % 2 == 0) {
    std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
    read_all(text);
    reseal(text);
    read_all(text);
  } else {
    read_block(data + 1, size - 1);
  }
  return 0;
}
