#include "loader/demux/describe_video.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>

#include "loader/demux/packet_record.h"
#include "loader/demux/packet_scan.h"
#include "loader/demux/stream_record.h"

extern "C" {
#include <libavutil/pixdesc.h>
}

namespace shardreel {
namespace {

/// Finds where in the source the packets' bytes lie. A demuxer's `pos` is only a hint (matroska
/// gives the block's, whose payload lies behind a few bytes of header), so the bytes decide.
class PacketLocator {
 public:
  explicit PacketLocator(const RandomAccess& source) : source_(source) {}

  /// Where this packet's bytes are; 0 once one of them was nowhere.
  std::uint64_t locate(const AVPacket& packet) {
    if (!everywhere_) return 0;
    const auto found = find(packet);
    everywhere_ = found.has_value() && plain(packet);
    return everywhere_ ? *found : 0;
  }
  /// Whether all packets so far are given by their bytes, times and flags alone.
  [[nodiscard]] bool everywhere() const { return everywhere_; }

 private:
  static bool plain(const AVPacket& packet) {
    // A decoder looks at no other flag, and at no side data of these kinds.
    constexpr int kFlags = AV_PKT_FLAG_KEY | AV_PKT_FLAG_DISCARD | AV_PKT_FLAG_DISPOSABLE;
    if ((packet.flags & ~kFlags) != 0) return false;
    const std::span side(packet.side_data, static_cast<std::size_t>(packet.side_data_elems));
    return std::all_of(side.begin(), side.end(), [](const AVPacketSideData& data) {
      return data.type == AV_PKT_DATA_MATROSKA_BLOCKADDITIONAL ||
             data.type == AV_PKT_DATA_MPEGTS_STREAM_ID;
    });
  }

  std::optional<std::uint64_t> find(const AVPacket& packet) {
    // SimpleBlock, BlockGroup with lacing and padding of its sizes: some tens of bytes.
    constexpr std::size_t kMaxHeader = 64;
    // An empty packet would end a decoder's stream; a demuxer's may not.
    if (packet.size <= 0 || packet.pos < 0) return std::nullopt;
    const auto size = static_cast<std::size_t>(packet.size);
    const auto pos = static_cast<std::uint64_t>(packet.pos);
    if (pos >= source_.size() || source_.size() - pos < size) return std::nullopt;
    bytes_.resize(size + kMaxHeader);
    auto got = source_.read_at(pos, bytes_);
    if (!got) return std::nullopt;
    for (std::size_t skip = 0; skip <= kMaxHeader && skip + size <= *got; ++skip) {
      if (std::memcmp(bytes_.data() + skip, packet.data, size) == 0) return pos + skip;
    }
    return std::nullopt;
  }

  const RandomAccess& source_;
  std::vector<std::byte> bytes_;
  bool everywhere_ = true;
};

std::string name_or(const char* name, const char* other) { return name == nullptr ? other : name; }

Rational rational(AVRational value) {
  return value.num > 0 && value.den > 0 ? Rational{value.num, value.den} : Rational{0, 1};
}

/// What the stream says of its pictures, after probing.
void describe_pictures(const Demuxer& demuxer, VideoRecord& record) {
  const AVCodecParameters& codec = *demuxer.stream().codecpar;
  record.coded_width = static_cast<std::uint32_t>(std::max(codec.width, 0));
  record.coded_height = static_cast<std::uint32_t>(std::max(codec.height, 0));
  record.pixel_format = name_or(av_get_pix_fmt_name(static_cast<AVPixelFormat>(codec.format)), "");
  record.color_matrix = name_or(av_color_space_name(codec.color_space), "unknown");
  record.color_range = name_or(av_color_range_name(codec.color_range), "unknown");
  record.color_primaries = name_or(av_color_primaries_name(codec.color_primaries), "unknown");
  record.color_transfer = name_or(av_color_transfer_name(codec.color_trc), "unknown");
  AVRational aspect = demuxer.sample_aspect();
  if (aspect.num <= 0) aspect = {1, 1};
  const auto shown = std::llround(record.coded_width * av_q2d(aspect));
  record.display_width = static_cast<std::uint32_t>(std::clamp<long long>(shown, 0, UINT32_MAX));
  record.display_height = record.coded_height;
  if (record.quarter_turns % 2 != 0) std::swap(record.display_width, record.display_height);
}

/// The average rate. Containers round times to their ticks: where the stream's own word agrees with
/// the times, it is the exact one (30000/1001, not 29.97).
Rational average_rate(const VideoFacts& facts, AVRational told) {
  if (facts.average_fps <= 0 || !std::isfinite(facts.average_fps)) return {0, 1};
  const double frames = static_cast<double>(facts.frame_count);
  // The times are that of the first and the last frame, off by a tick each.
  const double slack = std::max(0.001, 0.5 / std::max(frames, 1.0));
  if (told.num > 0 && told.den > 0 &&
      std::abs(av_q2d(told) - facts.average_fps) <= slack * facts.average_fps)
    return rational(told);
  return rational(av_d2q(facts.average_fps, 1'000'000));
}

bool is_constant(std::span<const std::int64_t> times) {
  if (times.empty()) return false;
  std::uint64_t least = UINT64_MAX, most = 0;
  for (std::size_t i = 1; i < times.size(); ++i) {
    const std::uint64_t apart =
        static_cast<std::uint64_t>(times[i]) - static_cast<std::uint64_t>(times[i - 1]);
    least = std::min(least, apart);
    most = std::max(most, apart);
  }
  return times.size() < 2 || most - least <= 1;
}

std::vector<KeyframeRecord> keyframes(const PacketIndex& index,
                                      std::span<const PacketRecord> records) {
  std::vector<std::int64_t> frame_of;
  if (!index.by_count()) {
    frame_of.assign(records.size(), -1);
    for (std::int64_t frame = 0; frame < index.frame_count(); ++frame)
      frame_of[index.packet_of(frame)] = frame;
  }
  std::vector<KeyframeRecord> found;
  found.reserve(index.start_count());
  for (std::size_t i = 0; i < records.size(); ++i) {
    const PacketEntry& packet = index.packets()[i];
    if (packet.traits.start == RandomAccessPoint::kNone) continue;
    found.push_back({frame_of.empty() ? -1 : frame_of[i], packet.pts, records[i].offset,
                     packet.traits.start == RandomAccessPoint::kOpen});
  }
  return found;
}

}  // namespace

Result<VideoDescription> describe_video(std::shared_ptr<const RandomAccess> source,
                                        const std::string& field) {
  auto demuxer = Demuxer::open(source, field);
  if (!demuxer) return std::move(demuxer.error());
  VideoDescription described;
  std::vector<std::uint64_t> places;
  PacketLocator locator(*source);
  auto scan = scan_packets(*demuxer, [&](const AVPacket& packet, const PacketEntry&) {
    places.push_back(locator.locate(packet));
  });
  if (!scan) return std::move(scan.error());
  std::vector<PacketRecord>& packets = described.packets;
  packets.reserve(places.size());
  for (std::size_t i = 0; i < places.size(); ++i)
    packets.push_back(packet_record(scan->packets[i], locator.everywhere() ? places[i] : 0));
  auto stream = read_stream(*demuxer, *scan);
  if (!stream) return std::move(stream.error());
  const PacketIndex index(std::move(scan->packets), order_of(*stream));
  if (auto shown = check_shows_frames(index); !shown) return std::move(shown.error());
  VideoFacts& facts = described.facts;
  facts = make_facts(*stream, index, demuxer->format().iformat->name);

  VideoRecord& record = described.record;
  record.field = field;
  record.codec = facts.codec;
  record.container = facts.container;
  record.quarter_turns = stream->quarter_turns;
  record.mirror = stream->mirror;
  record.time_base = rational(stream->time_base);
  record.constant_rate = is_constant(index.frame_times());
  record.times_unused = facts.times_unused;
  record.frame_count = facts.frame_count;
  record.duration_seconds =
      facts.end_seconds - (facts.pts_seconds.empty() ? 0 : facts.pts_seconds.front());
  record.packet_count = facts.packets;
  record.direct = locator.everywhere();
  record.keyframes = keyframes(index, packets);
  // The loader goes without probing where it may; people want to know what probing finds. A stream
  // that cannot be probed keeps what its container says.
  AVRational told = stream->told_rate;
  if (facts.probed) {
    describe_pictures(*demuxer, record);
  } else if (auto probed = Demuxer::open(std::move(source), field, Demuxer::Probing::kAlways)) {
    if (probed->stream().avg_frame_rate.num > 0) told = probed->stream().avg_frame_rate;
    describe_pictures(*probed, record);
    stream->sample_aspect = probed->sample_aspect();
    facts.sample_aspect = {stream->sample_aspect.num, stream->sample_aspect.den};
  } else {
    describe_pictures(*demuxer, record);
  }
  record.frame_rate = average_rate(facts, told);
  record.codec_parameters = write_stream_record(*stream);
  return described;
}

}  // namespace shardreel
