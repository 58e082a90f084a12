#include "loader/demux/direct_packets.h"

#include <fmt/format.h>

#include <cstring>
#include <deque>
#include <utility>

#include "loader/media/av_error.h"

namespace shardreel {
namespace {

// Beyond this, one call more costs less than the copy out of the run's buffer.
constexpr std::uint64_t kMaxRunBytes = 256 * 1024;
constexpr std::uint64_t kGapPart = 64;
constexpr std::uint64_t kReadAheadBytes = 1 << 20;

class PlacedPackets final : public PacketReader {
 public:
  PlacedPackets(std::shared_ptr<const DirectPackets> direct, PacketChoice choice)
      : direct_(std::move(direct)), choice_(std::move(choice)), next_(choice_.begin) {}

  Result<bool> next(AVPacket& packet) override {
    if (ready_.empty()) {
      if (auto filled = fill(); !filled) return std::move(filled.error());
    }
    if (ready_.empty()) return false;
    av_packet_move_ref(&packet, ready_.front().get());
    ready_.pop_front();
    return true;
  }

  Result<void> rewind() override {
    ready_.clear();
    next_ = choice_.begin;
    return {};
  }

 private:
  Result<void> fill() {
    std::vector<std::uint32_t> numbers;
    for (std::uint64_t bytes = 0; next_ < choice_.end() && bytes < kReadAheadBytes; ++next_) {
      if (!choice_.keep[next_ - choice_.begin]) continue;
      numbers.push_back(next_);
      bytes += direct_->size_of(next_);
    }
    auto packets = direct_->read(numbers);
    if (!packets) return std::move(packets.error());
    for (AVPacketPtr& packet : *packets) ready_.push_back(std::move(packet));
    return {};
  }

  const std::shared_ptr<const DirectPackets> direct_;  // shared with the video and its units
  const PacketChoice choice_;
  std::uint32_t next_;
  std::deque<AVPacketPtr> ready_;
};

}  // namespace

Result<void> DirectPackets::fill(std::uint64_t offset, std::span<std::byte> into,
                                 std::uint32_t number) const {
  auto got = source_->read_at(offset, into);
  if (!got) return std::move(got.error());
  if (*got == into.size()) return {};
  return Error{
      .code = ErrorCode::kTruncated,
      .message = fmt::format("packet {} by the index: {} bytes at offset {} of the video, expected "
                             "{} there",
                             number, *got, offset, into.size())};
}

Result<void> DirectPackets::read_run(std::span<const std::uint32_t> numbers,
                                     std::vector<std::byte>& scratch,
                                     std::vector<AVPacketPtr>& packets) const {
  const std::uint64_t begin = offsets_[numbers.front()];
  if (numbers.size() > 1) {
    const std::uint32_t last = numbers.back();
    scratch.resize(static_cast<std::size_t>(offsets_[last] + size_of(last) - begin));
    if (auto filled = fill(begin, scratch, numbers.front()); !filled) return filled;
  }
  for (const std::uint32_t number : numbers) {
    const PacketEntry& entry = index_->packets()[number];
    AVPacketPtr packet(av_packet_alloc());
    const int made = packet == nullptr ? AVERROR(ENOMEM)
                                       : av_new_packet(packet.get(), static_cast<int>(entry.size));
    if (made < 0) return av_failure(ErrorCode::kMemory, "read a packet", made);
    packet->pts = entry.pts;
    packet->dts = entry.dts;
    packet->flags = (entry.key ? AV_PKT_FLAG_KEY : 0) | (entry.discard ? AV_PKT_FLAG_DISCARD : 0);
    if (numbers.size() > 1) {
      std::memcpy(packet->data, scratch.data() + (offsets_[number] - begin), entry.size);
    } else if (auto filled =
                   fill(begin, std::as_writable_bytes(std::span(packet->data, entry.size)), number);
               !filled) {
      return filled;
    }
    packets.push_back(std::move(packet));
  }
  return {};
}

Result<std::vector<AVPacketPtr>> DirectPackets::read(std::span<const std::uint32_t> numbers) const {
  std::vector<AVPacketPtr> packets;
  packets.reserve(numbers.size());
  std::vector<std::byte> scratch;
  for (std::size_t first = 0; first < numbers.size();) {
    const std::uint64_t begin = offsets_[numbers[first]];
    std::uint64_t end = begin + size_of(numbers[first]), wanted = size_of(numbers[first]);
    std::size_t behind = first + 1;
    for (; behind < numbers.size(); ++behind) {
      const std::uint64_t offset = offsets_[numbers[behind]];
      const std::uint64_t size = size_of(numbers[behind]);
      if (offset < end || offset + size - begin > kMaxRunBytes) break;
      if ((offset - begin - wanted) * kGapPart > wanted + size) break;
      end = offset + size;
      wanted += size;
    }
    if (auto read = read_run(numbers.subspan(first, behind - first), scratch, packets); !read)
      return std::move(read.error());
    first = behind;
  }
  return packets;
}

std::unique_ptr<PacketReader> packets_by_place(std::shared_ptr<const DirectPackets> direct,
                                               PacketChoice choice) {
  return std::make_unique<PlacedPackets>(std::move(direct), std::move(choice));
}

}  // namespace shardreel
