// Clips on a device: their bytes stay what they were wherever they lie, and no room is used again
// while somebody reads it.
#include "loader/device/device_clips.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <semaphore>
#include <thread>

#include "loader/device/host_device.h"
#include "shardreel/units.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

constexpr std::uint64_t kClip = 5000;

std::shared_ptr<Governor> generous() {
  GovernorOptions rules;
  rules.reserve_bytes = 1_MiB;
  rules.budget_bytes = 1_GiB;
  rules.window = std::chrono::milliseconds(1);
  rules.dwell = std::chrono::milliseconds(0);
  auto governor = std::make_shared<Governor>(rules);
  governor->reading(governor_now(), 1_GiB);
  return governor;
}

/// A device with room for `clips`, and host memory for all of them.
struct Room {
  explicit Room(std::size_t most, std::size_t in_host_memory = 64)
      : device(HostDevice::make(0, {1_GiB, true})),
        governor(generous()),
        host(BlockPool::block_bytes_for(kClip), in_host_memory),
        clips(DeviceClips::make(device, governor, kClip, most * kClip, host).value()),
        stream(device->make_stream().value()),
        pinned(device->allocate_pinned(kClip).value()) {}

  /// A clip whose bytes are all `value`.
  std::optional<DeviceClip> make(int value) {
    auto clip = clips->take();
    if (!clip) return clip;
    std::memset(pinned->data(), value, kClip);
    stream->copy(clip->data(), pinned->data(), kClip).value();
    stream->synchronize().value();
    clip->made();
    return clip;
  }
  /// Read it into `to`, without waiting.
  Result<bool> read(DeviceClip& clip, const std::shared_ptr<Stream>& on, std::byte* to) {
    return clip.read_on(*on, [&](const void* from) { return on->copy(to, from, kClip); });
  }
  [[nodiscard]] std::uint64_t granted() const { return governor->gauges(governor_now()).granted; }

  std::shared_ptr<HostDevice> device;
  std::shared_ptr<Governor> governor;
  BlockPool host;
  std::unique_ptr<DeviceClips> clips;
  std::shared_ptr<Stream> stream;
  std::unique_ptr<PinnedBuffer> pinned;
};

bool all(std::span<const std::byte> bytes, int value) {
  return std::ranges::all_of(bytes,
                             [&](std::byte b) { return b == static_cast<std::byte>(value); });
}

TEST(DeviceClips, ThereAreAsManyAsAreAllowedAndEachIsLeased) {
  Room room(3);
  std::vector<DeviceClip> held;
  for (int i = 0; i < 3; ++i) held.push_back(std::move(*room.make(i)));
  EXPECT_FALSE(room.clips->take());
  EXPECT_EQ(room.granted(), 3 * kClip);
  EXPECT_EQ(room.device->allocated_bytes(), 3 * kClip);
  held.pop_back();
  EXPECT_TRUE(room.clips->take()) << "its block is used again";
  EXPECT_EQ(room.clips->gauges().held_bytes, 3 * kClip);
  held.clear();
  EXPECT_EQ(room.clips->free_idle(1), kClip) << "what was asked for, in whole clips";
  EXPECT_EQ(room.clips->free_idle(IdleMemory::kAll), 2 * kClip);
  EXPECT_EQ(room.granted(), 0U);
  EXPECT_EQ(room.device->allocated_bytes(), 0U);
}

TEST(DeviceClips, RoomIsNotUsedAgainWhileItIsRead) {
  Room room(1);
  auto reader = room.device->make_stream().value();
  auto seen = room.device->allocate_pinned(kClip).value();
  {
    auto clip = room.make(7);
    room.device->pause(true);
    EXPECT_TRUE(room.read(*clip, reader, seen->data()).value());
  }
  EXPECT_FALSE(room.clips->take()) << "its reader has not come to it";
  room.device->pause(false);
  reader->synchronize().value();
  EXPECT_TRUE(room.clips->take());
  EXPECT_TRUE(all({seen->data(), kClip}, 7));
}

TEST(DeviceClips, WhatIsReleasedIsBroughtDownWithItsBytes) {
  Room room(4);
  std::vector<DeviceClip> held;
  for (int i = 0; i < 4; ++i) held.push_back(std::move(*room.make(10 + i)));
  EXPECT_EQ(room.clips->free_idle(2 * kClip), 0U) << "none of them is idle";
  EXPECT_EQ(room.clips->bring_down(2 * kClip), 2 * kClip);
  EXPECT_EQ(room.clips->gauges().brought_down, 2U);
  EXPECT_EQ(room.clips->bring_down(IdleMemory::kAll), 2 * kClip);
  EXPECT_EQ(room.device->allocated_bytes(), 0U);
  EXPECT_EQ(room.granted(), 0U);
  EXPECT_EQ(room.host.in_use(), 4U);
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(room.read(held[static_cast<std::size_t>(i)], room.stream, nullptr).value());
    const Block pixels = held[static_cast<std::size_t>(i)].take_down().value();
    EXPECT_TRUE(all(pixels.bytes().first(kClip), 10 + i));
  }
  held.clear();
  EXPECT_EQ(room.host.in_use(), 0U);
}

TEST(DeviceClips, OneThatIsBeingMadeStaysAndComesDownWhenAsked) {
  Room room(2);
  auto clip = room.clips->take();
  EXPECT_EQ(room.clips->bring_down(IdleMemory::kAll), 0U) << "its maker writes there";
  std::memset(room.pinned->data(), 3, kClip);
  room.stream->copy(clip->data(), room.pinned->data(), kClip).value();
  room.stream->synchronize().value();
  EXPECT_TRUE(all(clip->take_down().value().bytes().first(kClip), 3));
  clip.reset();
  // The next one takes a block of its own: all had to go.
  EXPECT_TRUE(room.clips->take());
  EXPECT_EQ(room.clips->gauges().held_bytes, kClip);
  EXPECT_EQ(room.clips->free_idle(IdleMemory::kAll), kClip);
  EXPECT_EQ(room.device->allocated_bytes(), 0U);
}

TEST(DeviceClips, WithoutMemoryThereIsNoneAndNothingIsLost) {
  Room room(8);
  room.device->fail_allocation(1);
  EXPECT_FALSE(room.clips->take());
  EXPECT_EQ(room.governor->gauges(governor_now()).out_of_memory, 1U);
  EXPECT_FALSE(room.clips->take()) << "the governor cools down";
  EXPECT_EQ(room.clips->gauges().held_bytes, 0U);
  EXPECT_EQ(room.granted(), 0U);
}

TEST(DeviceClips, TheGovernorFindsThem) {
  Room room(8);
  const auto holder = room.governor->idle().add(
      [&room](std::uint64_t bytes) { return room.clips->bring_down(bytes); });
  std::vector<DeviceClip> held;
  for (int i = 0; i < 6; ++i) held.push_back(std::move(*room.make(i)));
  held.pop_back();
  // Others took nearly all: what is left is far below the reserve of 1 MiB.
  const GovernorTime later = governor_now() + std::chrono::seconds(1);
  room.governor->reading(later, 1000);
  EXPECT_EQ(room.governor->shed(later), 6 * kClip);
  EXPECT_EQ(room.clips->gauges().brought_down, 5U) << "one was idle";
  EXPECT_EQ(room.device->allocated_bytes(), 0U);
  EXPECT_EQ(room.granted(), 0U);
  for (int i = 0; i < 5; ++i)
    EXPECT_TRUE(all(held[static_cast<std::size_t>(i)].take_down().value().bytes().first(kClip), i));
}

// Makers, readers and somebody who wants the memory back, all the time; host memory for exactly
// those clips that are there.
TEST(DeviceClips, BytesStayWhatTheyWereWhoeverWantsTheMemoryWhen) {
  constexpr std::ptrdiff_t kClips = 6;
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(200); ++round) {
    Room room(4, kClips);
    std::counting_semaphore<kClips> reserved(kClips);
    std::atomic<bool> over{false};
    std::jthread trainer([&, seed = random()] {
      std::mt19937_64 own(seed);
      while (!over) {
        const std::uint64_t wanted = own() % 8 == 0 ? IdleMemory::kAll : own() % (3 * kClip);
        own() % 2 == 0 ? room.clips->bring_down(wanted) : room.clips->free_idle(wanted);
        std::this_thread::yield();
      }
    });
    std::vector<std::jthread> workers;
    for (int w = 0; w < 2; ++w) {
      workers.emplace_back([&, w, seed = random()] {
        std::mt19937_64 own(seed);
        auto stream = room.device->make_stream().value();
        auto from = room.device->allocate_pinned(kClip).value();
        auto to = room.device->allocate_pinned(kClip).value();
        std::vector<std::pair<int, DeviceClip>> held;
        for (int i = 0; i < 60; ++i) {
          const bool may = reserved.try_acquire();
          if (auto clip = may ? room.clips->take() : std::nullopt) {
            const int value = (w * 100 + i) % 256;
            std::memset(from->data(), value, kClip);
            stream->copy(clip->data(), from->data(), kClip).value();
            stream->synchronize().value();
            clip->made();
            held.emplace_back(value, std::move(*clip));
          } else if (may) {
            reserved.release();
          }
          if (held.empty() || own() % 2 == 0) continue;
          {
            auto [value, clip] = std::move(held.back());
            held.pop_back();
            if (own() % 4 == 0) {
              // Dropped, as when another epoch is set.
            } else if (room.read(clip, stream, to->data()).value()) {
              stream->synchronize().value();
              EXPECT_TRUE(all({to->data(), kClip}, value));
            } else {
              EXPECT_TRUE(all(clip.take_down().value().bytes().first(kClip), value));
            }
          }
          reserved.release();
        }
        for (; !held.empty(); reserved.release()) held.pop_back();
      });
    }
    workers.clear();
    over = true;
    trainer.join();
    EXPECT_EQ(room.clips->gauges().clips, 0U);
    room.clips->free_idle(IdleMemory::kAll);
    EXPECT_EQ(room.granted(), 0U);
    EXPECT_EQ(room.device->allocated_bytes(), 0U);
    EXPECT_EQ(room.host.in_use(), 0U);
  }
}

}  // namespace
}  // namespace shardreel
