#include "loader/demux/unit_packets.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "loader/media/av_error.h"

namespace shardreel {
namespace {

// Reading this many bytes costs more than an index lookup and the check of where it led.
constexpr std::uint64_t kMinJumpBytes = 1 << 20;

class MemoryPackets final : public PacketReader {
 public:
  explicit MemoryPackets(std::vector<AVPacketPtr> packets) : packets_(std::move(packets)) {}

  Result<bool> next(AVPacket& packet) override {
    if (next_ == packets_.size()) return false;
    const int status = av_packet_ref(&packet, packets_[next_].get());
    if (status < 0) return av_failure(ErrorCode::kMemory, "hand a packet to the decoder", status);
    ++next_;
    return true;
  }

  Result<void> rewind() override {
    next_ = 0;
    return {};
  }

 private:
  std::vector<AVPacketPtr> packets_;
  std::size_t next_ = 0;
};

class SourcePackets final : public PacketReader {
 public:
  SourcePackets(PacketCursor cursor, PacketChoice choice)
      : cursor_(std::move(cursor)), choice_(std::move(choice)) {}

  Result<bool> next(AVPacket& packet) override {
    if (!started_) {
      if (auto there = cursor_.approach(choice_.begin); !there) return std::move(there.error());
      started_ = true;
    }
    while (cursor_.position() < choice_.end()) {
      const std::uint32_t at = cursor_.position();
      auto got = cursor_.next(packet);
      if (!got || !*got) return got;
      if (at >= choice_.begin && choice_.keep[at - choice_.begin]) return true;
      av_packet_unref(&packet);
    }
    return false;
  }

  Result<void> rewind() override {
    started_ = false;
    return {};
  }

 private:
  PacketCursor cursor_;
  PacketChoice choice_;
  bool started_ = false;
};

}  // namespace

std::unique_ptr<PacketReader> packets_in_memory(std::vector<AVPacketPtr> packets) {
  return std::make_unique<MemoryPackets>(std::move(packets));
}

std::unique_ptr<PacketReader> packets_from_source(PacketCursor cursor, PacketChoice choice) {
  return std::make_unique<SourcePackets>(std::move(cursor), std::move(choice));
}

Result<void> PacketCursor::reopen() {
  demuxer_.reset();
  landed_.reset();
  auto opened = Demuxer::open(source_, field_, Demuxer::Probing::kWhereNeeded, most_pixels_);
  if (!opened) return std::move(opened.error());
  demuxer_ = std::make_unique<Demuxer>(std::move(*opened));
  position_ = 0;
  return {};
}

Result<void> PacketCursor::approach(std::uint32_t target) {
  if (demuxer_ == nullptr || position_ > target) {
    if (auto opened = reopen(); !opened) return opened;
  }
  if (!may_jump_ || !demuxer_->has_index()) return {};
  std::uint64_t between = 0;
  for (std::uint32_t i = position_; i < target; ++i) between += index_->packets()[i].size;
  if (between < kMinJumpBytes) return {};
  auto jumped = jump(target);
  if (!jumped) return std::move(jumped.error());
  if (*jumped) return {};
  may_jump_ = false;
  return reopen();
}

Result<bool> PacketCursor::jump(std::uint32_t target) {
  const auto packets = index_->packets();
  const PacketEntry& wanted = packets[target];
  if (wanted.dts == kNoTime && wanted.pts == kNoTime) return true;  // read on from here
  if (!demuxer_->seek(wanted.dts, wanted.pts)) return false;
  landed_.reset(av_packet_alloc());
  if (landed_ == nullptr) return av_failure(ErrorCode::kMemory, "seek in a video", AVERROR(ENOMEM));
  auto got = demuxer_->next(*landed_);
  if (!got) return std::move(got.error());
  if (!*got) return false;
  // Where did that lead? Only a packet that is one of its kind in the table tells.
  std::optional<std::uint32_t> found;
  for (std::uint32_t i = 0; i <= target; ++i) {
    const PacketEntry& entry = packets[i];
    if (entry.pts != landed_->pts || entry.size != static_cast<std::uint32_t>(landed_->size))
      continue;
    if (found) return false;
    found = i;
  }
  if (!found) return false;
  position_ = *found;
  return true;
}

Result<bool> PacketCursor::next(AVPacket& packet) {
  if (landed_ != nullptr) {
    av_packet_move_ref(&packet, landed_.get());
    landed_.reset();
    ++position_;
    return true;
  }
  auto got = demuxer_->next(packet);
  if (got && *got) ++position_;
  return got;
}

}  // namespace shardreel
