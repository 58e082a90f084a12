#include "shards/index_block.h"

#include <zlib.h>

#include <limits>

#include "shards/index_bytes.h"

namespace shardreel {
namespace {

// Deflate cannot grow bytes more than this (RFC 1951: 258 of them from two bits).
constexpr std::uint64_t kMostGrowth = 1032;
constexpr int kRawDeflate = -MAX_WBITS;

std::string deflated(const std::string& raw) {
  z_stream stream{};
  if (raw.size() > std::numeric_limits<uInt>::max() ||
      deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kRawDeflate, MAX_MEM_LEVEL,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    return raw;
  }
  std::string out(deflateBound(&stream, static_cast<uLong>(raw.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(raw.data()));
  stream.avail_in = static_cast<uInt>(raw.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return status == Z_STREAM_END && out.size() < raw.size() ? out : raw;
}

bool inflated(std::string_view stored, std::string& raw) {
  z_stream stream{};
  if (stored.size() > std::numeric_limits<uInt>::max() ||
      raw.size() > std::numeric_limits<uInt>::max() || inflateInit2(&stream, kRawDeflate) != Z_OK) {
    return false;
  }
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(stored.data()));
  stream.avail_in = static_cast<uInt>(stored.size());
  stream.next_out = reinterpret_cast<Bytef*>(raw.data());
  stream.avail_out = static_cast<uInt>(raw.size());
  const int status = inflate(&stream, Z_FINISH);
  const bool whole = status == Z_STREAM_END && stream.avail_in == 0 && stream.avail_out == 0;
  inflateEnd(&stream);
  return whole;
}

std::int64_t as_signed(std::uint64_t value) { return static_cast<std::int64_t>(value); }

/// What a packet's pts is told from: its own dts where that is known, else the pts before.
std::int64_t pts_base(std::int64_t dts, std::int64_t last_pts) {
  return dts != kNoTimestamp ? dts : last_pts;
}

}  // namespace

// Column after column, because neighbours in a column are alike: at a constant rate whole columns
// are zeros. Times go by the change of their step, offsets by the gap behind the packet before.
PackedBlock pack_block(const VideoRecord& video, std::span<const PacketRecord> packets) {
  IndexBytes out;
  out.text(video.codec_parameters);
  const auto column = [&out](const auto& rows, auto&& number_of) {
    for (const auto& row : rows) out.signed_number(number_of(row));
  };
  std::int64_t last = 0, step = 0;
  const auto difference = [&last](std::int64_t value) {
    const std::int64_t from = last;
    last = value;
    return wrapping_sub(value, from);
  };
  column(video.keyframes, [&](const auto& key) { return difference(key.frame); });
  last = 0;
  column(video.keyframes, [&](const auto& key) { return difference(key.pts); });
  last = 0;
  column(video.keyframes, [&](const auto& key) { return difference(as_signed(key.offset)); });
  for (const auto& key : video.keyframes) out.number(key.open ? 1 : 0);

  last = 0;
  column(packets, [&](const auto& packet) {
    const std::int64_t from = step;
    step = difference(packet.dts);
    return wrapping_sub(step, from);
  });
  last = 0;
  column(packets, [&](const auto& packet) {
    const std::int64_t base = pts_base(packet.dts, last);
    last = packet.pts;
    return wrapping_sub(packet.pts, base);
  });
  last = 0;
  column(packets, [&](const auto& packet) {
    const std::int64_t from = last;
    last = wrapping_add(as_signed(packet.offset), packet.size);
    return wrapping_sub(as_signed(packet.offset), from);
  });
  for (const auto& packet : packets) out.number(packet.size);
  for (const auto& packet : packets) out.number(packet.flags);

  const std::string raw = out.take();
  return {deflated(raw), raw.size()};
}

bool block_is_possible(std::uint64_t stored_bytes, std::uint64_t raw_bytes, std::uint64_t packets,
                       std::uint64_t keyframes) {
  return stored_bytes > 0 && stored_bytes <= raw_bytes &&
         raw_bytes <= std::numeric_limits<uInt>::max() && raw_bytes / kMostGrowth <= stored_bytes &&
         packets <= raw_bytes / kPacketColumns && keyframes <= raw_bytes / kKeyframeColumns;
}

bool unpack_block(std::string_view stored, std::uint64_t raw_bytes, std::uint64_t keyframes,
                  VideoRecord& video, std::vector<PacketRecord>& packets) {
  std::string raw;
  if (stored.size() == raw_bytes) {
    raw = stored;
  } else {
    raw.resize(static_cast<std::size_t>(raw_bytes));
    if (!inflated(stored, raw)) return false;
  }
  IndexCursor in(raw);
  video.codec_parameters = in.text();
  if (!in.good() ||
      in.left() < keyframes * kKeyframeColumns + video.packet_count * kPacketColumns) {
    return false;
  }
  video.keyframes.resize(static_cast<std::size_t>(keyframes));
  std::int64_t last = 0, step = 0;
  for (auto& key : video.keyframes) key.frame = last = wrapping_add(last, in.signed_number());
  last = 0;
  for (auto& key : video.keyframes) key.pts = last = wrapping_add(last, in.signed_number());
  last = 0;
  for (auto& key : video.keyframes) {
    last = wrapping_add(last, in.signed_number());
    key.offset = static_cast<std::uint64_t>(last);
  }
  for (auto& key : video.keyframes) key.open = in.number_up_to(1) == 1;

  packets.resize(static_cast<std::size_t>(video.packet_count));
  last = 0;
  for (auto& packet : packets) {
    step = wrapping_add(step, in.signed_number());
    packet.dts = last = wrapping_add(last, step);
  }
  last = 0;
  for (auto& packet : packets) {
    packet.pts = last = wrapping_add(pts_base(packet.dts, last), in.signed_number());
  }
  for (auto& packet : packets) packet.offset = static_cast<std::uint64_t>(in.signed_number());
  constexpr std::uint64_t kMost32 = std::numeric_limits<std::uint32_t>::max();
  std::uint64_t end = 0;
  for (auto& packet : packets) {
    packet.size = static_cast<std::uint32_t>(in.number_up_to(kMost32));
    packet.offset += end;  // until here the gap behind the packet before
    end = packet.offset + packet.size;
  }
  for (auto& packet : packets) {
    packet.flags = static_cast<std::uint32_t>(in.number_up_to(kMost32));
  }
  return in.good() && in.left() == 0;
}

}  // namespace shardreel
