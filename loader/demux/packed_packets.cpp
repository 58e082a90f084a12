#include "loader/demux/packed_packets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "loader/media/av_error.h"

namespace shardreel {
namespace {

/// What lies before each packet's bytes.
struct PackedHead {
  std::int64_t pts, dts, duration;
  std::int32_t size;
  std::uint32_t flags;
};

/// A run of bytes over pages: written once from front to back, then read so.
class PagedBytes {
 public:
  /// Append; false when that would take more than `most_pages`, or the pool is empty.
  bool append(std::span<const std::byte> bytes, BlockPool& pool, std::size_t most_pages) {
    while (!bytes.empty()) {
      const std::size_t used = size_ % kPacketPageBytes;
      if (used == 0) {
        if (pages_.size() == most_pages) return false;
        pages_.push_back(pool.take());
        if (!pages_.back()) return false;
      }
      const std::size_t part = std::min(bytes.size(), kPacketPageBytes - used);
      std::memcpy(pages_.back().bytes().data() + used, bytes.data(), part);
      bytes = bytes.subspan(part);
      size_ += part;
    }
    return true;
  }

  void copy(std::size_t offset, std::span<std::byte> into) const {
    while (!into.empty()) {
      const std::size_t used = offset % kPacketPageBytes;
      const std::size_t part = std::min(into.size(), kPacketPageBytes - used);
      std::memcpy(into.data(), pages_[offset / kPacketPageBytes].bytes().data() + used, part);
      into = into.subspan(part);
      offset += part;
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::vector<Block> pages_;
  std::size_t size_ = 0;
};

/// A packet's side data, for the few packets that have any.
struct SideData {
  std::size_t packet = 0;
  AVPacketPtr properties;
};

class PackedPackets final : public PacketReader {
 public:
  PackedPackets(PagedBytes bytes, std::vector<SideData> side_data)
      : bytes_(std::move(bytes)), side_data_(std::move(side_data)) {}

  Result<bool> next(AVPacket& packet) override {
    if (at_ == bytes_.size()) return false;
    PackedHead head;
    bytes_.copy(at_, std::as_writable_bytes(std::span(&head, 1)));
    const int status = av_new_packet(&packet, head.size);
    if (status < 0) return av_failure(ErrorCode::kMemory, "hand a packet to the decoder", status);
    bytes_.copy(at_ + sizeof(head),
                {reinterpret_cast<std::byte*>(packet.data), static_cast<std::size_t>(head.size)});
    packet.pts = head.pts;
    packet.dts = head.dts;
    packet.duration = head.duration;
    packet.flags = static_cast<int>(head.flags);
    if (side_ < side_data_.size() && side_data_[side_].packet == packet_) {
      const int copied = av_packet_copy_props(&packet, side_data_[side_++].properties.get());
      if (copied < 0) return av_failure(ErrorCode::kMemory, "copy a packet's side data", copied);
    }
    at_ += sizeof(head) + static_cast<std::size_t>(head.size);
    ++packet_;
    return true;
  }

  Result<void> rewind() override {
    at_ = packet_ = side_ = 0;
    return {};
  }

 private:
  const PagedBytes bytes_;
  const std::vector<SideData> side_data_;
  std::size_t at_ = 0;  // byte of the next packet's head
  std::size_t packet_ = 0, side_ = 0;
};

}  // namespace

std::uint64_t packed_bytes(std::uint64_t packets, std::uint64_t bytes) {
  const std::uint64_t all = bytes + packets * sizeof(PackedHead);
  return (all + kPacketPageBytes - 1) / kPacketPageBytes * kPacketPageBytes;
}

Result<std::unique_ptr<PacketReader>> pack_packets(PacketReader& from, BlockPool& pages,
                                                   std::uint64_t most_bytes) {
  PagedBytes packed;
  std::vector<SideData> side_data;
  const std::size_t most_pages = most_bytes / kPacketPageBytes;
  const AVPacketPtr packet(av_packet_alloc());
  if (packet == nullptr) return av_failure(ErrorCode::kMemory, "pack packets", AVERROR(ENOMEM));
  for (std::size_t count = 0;; ++count) {
    const PacketScope scope(*packet);
    auto got = from.next(*packet);
    if (!got) return std::move(got.error());
    if (!*got) break;
    const PackedHead head{packet->pts, packet->dts, packet->duration, packet->size,
                          static_cast<std::uint32_t>(packet->flags)};
    if (!packed.append(std::as_bytes(std::span(&head, 1)), pages, most_pages) ||
        !packed.append(std::as_bytes(std::span(packet->data, static_cast<std::size_t>(head.size))),
                       pages, most_pages))
      return Error{.code = ErrorCode::kInternal,
                   .message = fmt::format("packet {} does not fit the {} bytes reserved for its "
                                          "unit; the packet table says that all do",
                                          count, most_bytes)};
    if (packet->side_data_elems == 0) continue;
    SideData kept{count, AVPacketPtr(av_packet_alloc())};
    const int copied = kept.properties == nullptr
                           ? AVERROR(ENOMEM)
                           : av_packet_copy_props(kept.properties.get(), packet.get());
    if (copied < 0) return av_failure(ErrorCode::kMemory, "keep a packet's side data", copied);
    side_data.push_back(std::move(kept));
  }
  return std::unique_ptr<PacketReader>(
      std::make_unique<PackedPackets>(std::move(packed), std::move(side_data)));
}

}  // namespace shardreel
