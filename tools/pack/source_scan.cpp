#include "tools/pack/source_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "loader/demux/demuxer.h"
#include "loader/demux/packet_scan.h"
#include "loader/media/av_error.h"

namespace shardreel::tools {
namespace {

Error cut_short(std::string message) {
  return Error{ErrorCode::kTruncated, std::move(message), {}, {}, {}};
}

/// What the container says of the stream against what it held.
Result<void> check_whole(const Demuxer& demuxer, std::size_t packets) {
  if (demuxer.cut_short())
    return cut_short(fmt::format("the container breaks off behind packet {}", packets));
  // mov's index lists all packets (edit lists applied) before one is read.
  if (std::string_view(demuxer.format().iformat->name).starts_with("mov")) {
    const int listed = avformat_index_get_entries_count(&demuxer.stream());
    if (listed > 0 && packets < static_cast<std::size_t>(listed))
      return cut_short(fmt::format("the index lists {} packets, {} are there", listed, packets));
  }
  return {};
}

double average_rate(const AVStream& stream, const PacketIndex& index) {
  const auto& times = index.frame_times();
  if (times.size() > 1) {
    const double span =
        static_cast<double>(times.back() - times.front()) * av_q2d(stream.time_base);
    return static_cast<double>(times.size() - 1) / span;
  }
  for (const AVRational rate : {stream.avg_frame_rate, stream.r_frame_rate}) {
    if (rate.num > 0 && rate.den > 0) return av_q2d(rate);
  }
  return 25;
}

}  // namespace

Result<SourceScan> scan_source(std::shared_ptr<const RandomAccess> source, const std::string& field,
                               Demuxer::Probing probing) {
  auto demuxer = Demuxer::open(std::move(source), field, probing);
  if (!demuxer) return std::move(demuxer.error());
  const AVStream& stream = demuxer->stream();
  const AvMessage message;
  std::optional<std::uint64_t> damaged;
  std::uint64_t seen = 0;
  auto packets = scan_packets(*demuxer, [&](const AVPacket& packet, const PacketEntry&) {
    if ((packet.flags & AV_PKT_FLAG_CORRUPT) != 0 && !damaged) damaged = seen;
    ++seen;
  });
  if (!packets) return message.explain(std::move(packets.error()));
  if (damaged)
    return message.explain(cut_short(fmt::format("packet {} is incomplete or damaged", *damaged)));
  const std::size_t count = packets->packets.size();
  if (auto whole = check_whole(*demuxer, count); !whole)
    return message.explain(std::move(whole.error()));
  const StreamOrder order{.withheld_until_start = stream.codecpar->codec_id == AV_CODEC_ID_H264,
                          .times_mislead = packets->times_mislead};
  SourceScan scan{PacketIndex(std::move(packets->packets), order), packets->last_duration, 0};
  scan.held_back = scan.index.by_count() ? packets->held_back : scan.index.reorder_frames();
  if (scan.index.frame_count() == 0)
    return Error{ErrorCode::kDecodeError,
                 fmt::format("none of {} packets shows a frame", count),
                 {},
                 {},
                 {}};
  scan.average_fps = average_rate(stream, scan.index);
  return scan;
}

}  // namespace shardreel::tools
