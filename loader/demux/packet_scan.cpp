#include "loader/demux/packet_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "loader/demux/picture_sizes.h"
#include "loader/media/av_error.h"

namespace shardreel {
namespace {

constexpr std::size_t kMaxPackets = UINT32_MAX - 1;  // packet numbers have 32 bits

static_assert(kNoTime == AV_NOPTS_VALUE);

PacketEntry make_entry(const AVPacket& packet, PacketInspector& inspector) {
  PacketEntry entry;
  entry.pts = packet.pts;  // AV_NOPTS_VALUE is kNoTime
  entry.dts = packet.dts;
  entry.size = static_cast<std::uint32_t>(std::max(packet.size, 0));
  entry.discard = (packet.flags & AV_PKT_FLAG_DISCARD) != 0;
  entry.key = (packet.flags & AV_PKT_FLAG_KEY) != 0;
  entry.traits = inspector.inspect({packet.data, entry.size}, entry.key);
  // New headers from the container count like those inside packets.
  if (av_packet_get_side_data(&packet, AV_PKT_DATA_NEW_EXTRADATA, nullptr) != nullptr ||
      av_packet_get_side_data(&packet, AV_PKT_DATA_PARAM_CHANGE, nullptr) != nullptr)
    entry.traits.parameter_sets = true;
  return entry;
}

}  // namespace

Result<PacketScan> scan_packets(Demuxer& demuxer, const PacketVisitor& visit) {
  PacketScan scan;
  std::int64_t last_pts = kNoTime;
  PacketInspector inspector(*demuxer.stream().codecpar);
  PictureSizes sizes(*demuxer.stream().codecpar);
  const AVPacketPtr packet(av_packet_alloc());
  if (packet == nullptr) return av_failure(ErrorCode::kMemory, "scan packets", AVERROR(ENOMEM));
  while (scan.packets.size() < kMaxPackets) {
    const PacketScope scope(*packet);
    auto got = demuxer.next(*packet);
    if (!got) return std::move(got.error());
    if (!*got) break;
    if (av_packet_get_side_data(packet.get(), AV_PKT_DATA_ENCRYPTION_INFO, nullptr) != nullptr)
      return Error{.code = ErrorCode::kEncrypted,
                   .message = fmt::format("packet {} is encrypted", scan.packets.size())};
    const PacketEntry entry = make_entry(*packet, inspector);
    if (!entry.discard && entry.pts != kNoTime && entry.pts >= last_pts) {
      last_pts = entry.pts;
      scan.last_duration = packet->duration;
    }
    if (may_change_size(entry)) sizes.look({packet->data, entry.size});
    scan.packets.push_back(entry);
    if (visit) visit(*packet, entry);
  }
  if (scan.packets.empty())
    return Error{.code = ErrorCode::kTruncated,
                 .message = fmt::format("the {} stream of this {} has no packets",
                                        avcodec_get_name(demuxer.stream().codecpar->codec_id),
                                        demuxer.format().iformat->name)};
  scan.largest = sizes.largest();
  scan.packets.shrink_to_fit();
  return scan;
}

}  // namespace shardreel
