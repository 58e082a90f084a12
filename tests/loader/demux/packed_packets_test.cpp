// Packets packed into pages are the packets they were: bytes, times, flags, side data.

#include "loader/demux/packed_packets.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "loader/demux/unit_packets.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

AVPacketPtr make_packet(std::mt19937_64& random, std::size_t size, bool side_data) {
  AVPacketPtr packet(av_packet_alloc());
  EXPECT_EQ(av_new_packet(packet.get(), static_cast<int>(size)), 0);
  for (std::size_t i = 0; i < size; ++i) packet->data[i] = static_cast<std::uint8_t>(random());
  packet->pts = static_cast<std::int64_t>(random());
  packet->dts = random() % 4 == 0 ? AV_NOPTS_VALUE : static_cast<std::int64_t>(random());
  packet->duration = static_cast<std::int64_t>(random() % 1000);
  packet->flags = static_cast<int>(random() % 16);
  if (side_data) {
    std::uint8_t* data = av_packet_new_side_data(packet.get(), AV_PKT_DATA_NEW_EXTRADATA, 24);
    for (int i = 0; i < 24; ++i) data[i] = static_cast<std::uint8_t>(random());
  }
  return packet;
}

void expect_same(const AVPacket& got, const AVPacket& expected) {
  ASSERT_EQ(got.size, expected.size);
  EXPECT_EQ(std::memcmp(got.data, expected.data, static_cast<std::size_t>(got.size)), 0);
  EXPECT_EQ(got.pts, expected.pts);
  EXPECT_EQ(got.dts, expected.dts);
  EXPECT_EQ(got.duration, expected.duration);
  EXPECT_EQ(got.flags, expected.flags);
  ASSERT_EQ(got.side_data_elems, expected.side_data_elems);
  for (int i = 0; i < got.side_data_elems; ++i) {
    ASSERT_EQ(got.side_data[i].size, expected.side_data[i].size);
    EXPECT_EQ(got.side_data[i].type, expected.side_data[i].type);
    EXPECT_EQ(std::memcmp(got.side_data[i].data, expected.side_data[i].data, got.side_data[i].size),
              0);
  }
}

struct Packets {
  std::vector<AVPacketPtr> all;
  std::uint64_t bytes = 0;
  [[nodiscard]] std::unique_ptr<PacketReader> reader() const {
    std::vector<AVPacketPtr> copies;
    for (const AVPacketPtr& packet : all) copies.emplace_back(av_packet_clone(packet.get()));
    return packets_in_memory(std::move(copies));
  }
};

Packets make_packets(std::mt19937_64& random) {
  Packets packets;
  for (std::uint64_t count = random() % 40; count > 0; --count) {
    // Around the ends of pages, empty ones, and some over several pages.
    const std::size_t size = random() % 5 == 0 ? random() % 20000 : random() % 3000;
    packets.all.push_back(make_packet(random, size, random() % 8 == 0));
    packets.bytes += size;
  }
  return packets;
}

TEST(PackedPacketsProperty, GivesWhatWasPackedAndAllPagesBack) {
  std::mt19937_64 random(testing::test_seed());
  BlockPool pages(kPacketPageBytes, 4000);
  for (std::uint64_t round = 0; round < testing::rounds(1000); ++round) {
    const Packets packets = make_packets(random);
    const std::uint64_t bytes = packed_bytes(packets.all.size(), packets.bytes);
    auto packed = pack_packets(*packets.reader(), pages, bytes);
    ASSERT_TRUE(packed) << packed.error().describe();
    // The formula is what is reserved, so it must be what is taken.
    ASSERT_EQ(pages.in_use() * kPacketPageBytes, bytes);
    const AVPacketPtr got(av_packet_alloc());
    for (int pass = 0; pass < 2; ++pass) {  // the second after a rewind in the middle
      const std::size_t stop = pass == 0 ? random() % (packets.all.size() + 1) : packets.all.size();
      for (std::size_t i = 0; i < stop; ++i) {
        auto more = (*packed)->next(*got);
        ASSERT_TRUE(more && *more);
        expect_same(*got, *packets.all[i]);
        av_packet_unref(got.get());
      }
      if (pass == 0) {
        ASSERT_TRUE((*packed)->rewind());
      }
    }
    EXPECT_FALSE(*(*packed)->next(*got));
    packed->reset();
    ASSERT_EQ(pages.in_use(), 0U);
  }
}

TEST(PackedPackets, MoreThanReservedIsRefusedAndNothingKept) {
  std::mt19937_64 random(1);
  BlockPool pages(kPacketPageBytes, 10);
  Packets packets;
  packets.all.push_back(make_packet(random, 5000, false));
  const auto refused = pack_packets(*packets.reader(), pages, kPacketPageBytes);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInternal);
  EXPECT_EQ(pages.in_use(), 0U);
  packets.all.push_back(make_packet(random, 50000, false));  // more than the pool has
  EXPECT_FALSE(pack_packets(*packets.reader(), pages, 1 << 20));
  EXPECT_EQ(pages.in_use(), 0U);
}

}  // namespace
}  // namespace shardreel
