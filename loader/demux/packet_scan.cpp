#include "loader/demux/packet_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "loader/demux/display_order.h"
#include "loader/demux/picture_sizes.h"
#include "loader/media/av_error.h"

namespace shardreel {
namespace {

constexpr std::size_t kMaxPackets = UINT32_MAX - 1;  // packet numbers have 32 bits

static_assert(kNoTime == AV_NOPTS_VALUE);

PacketEntry make_entry(const AVPacket& packet, PacketInspector& inspector, ScanTraits& scan) {
  PacketEntry entry;
  entry.pts = packet.pts;  // AV_NOPTS_VALUE is kNoTime
  entry.dts = packet.dts;
  entry.size = static_cast<std::uint32_t>(std::max(packet.size, 0));
  entry.discard = (packet.flags & AV_PKT_FLAG_DISCARD) != 0;
  entry.key = (packet.flags & AV_PKT_FLAG_KEY) != 0;
  entry.traits = inspector.inspect({packet.data, entry.size}, entry.key, scan);
  // New headers from the container count like those inside packets.
  for (const auto headers :
       {AV_PKT_DATA_NEW_EXTRADATA, AV_PKT_DATA_PARAM_CHANGE, AV_PKT_DATA_PALETTE}) {
    if (av_packet_get_side_data(&packet, headers, nullptr) != nullptr)
      entry.traits.parameter_sets = true;
  }
  return entry;
}

/// Which builds of x264 a stream's packets name.
class Builds {
 public:
  void look(std::uint32_t packet, std::optional<int> build) {
    if (!build) return;
    if (packet == 0) {
      first_ = *build;
      return;
    }
    if (*build != first_) change_ = true;
    naming_.push_back(packet);
  }
  /// Settle `scan`, whose packets are all there.
  void settle(PacketScan& scan) const {
    scan.x264_build = change_ ? kManyBuilds : first_;
    if (!change_) return;
    auto naming = naming_.begin();
    for (std::uint32_t i = 1; i < scan.packets.size(); ++i) {
      if (naming != naming_.end() && *naming == i)
        ++naming;
      else
        scan.packets[i].traits.start = RandomAccessPoint::kNone;
    }
  }

 private:
  int first_ = 0;
  bool change_ = false;
  std::vector<std::uint32_t> naming_;  ///< packets behind the first
};

}  // namespace

Result<PacketScan> scan_packets(Demuxer& demuxer, const PacketVisitor& visit) {
  PacketScan scan;
  std::int64_t last_pts = kNoTime;
  PacketInspector inspector(*demuxer.stream().codecpar);
  DisplayOrder display;
  Builds builds;
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
    ScanTraits traits;
    const PacketEntry entry = make_entry(*packet, inspector, traits);
    display.add(entry, traits.order);
    builds.look(static_cast<std::uint32_t>(scan.packets.size()), traits.x264_build);
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
  display.finish();
  scan.times_mislead = display.times_mislead();
  scan.held_back = display.held_back();
  builds.settle(scan);
  return scan;
}

}  // namespace shardreel
