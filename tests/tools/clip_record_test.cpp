#include "tools/commands/clip_record.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace shardreel::tools {
namespace {

using Json = nlohmann::json;

ClipInfo clip(const std::string& shard, const std::string& key, std::vector<std::int64_t> frames) {
  ClipInfo info;
  info.id = {1, 2, 3, 4};
  info.sample = std::make_shared<SampleFields>(SampleFields{key, shard, {}});
  info.pts_seconds.assign(frames.size(), 0.25);
  info.frame_index = std::move(frames);
  return info;
}

std::vector<std::byte> bytes(const std::string& text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

struct Delivered {
  ClipInfo info;
  std::string pixels;
};

std::pair<std::string, std::string> digests(const std::vector<Delivered>& clips) {
  ClipDigests both;
  for (const Delivered& one : clips) both.add(one.info, bytes(one.pixels));
  return {hex(both.order()), hex(both.pixels().value())};
}

TEST(ClipRecordTest, DigestsAreTheDocumentedBytes) {
  const auto u64 = [](std::uint64_t value) {
    std::string text;
    for (int i = 0; i < 8; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
    return text;
  };
  const std::string facts = u64(2) + u64(1) + "k" + u64(2) + u64(7) + u64(300);
  const auto expect = [](const std::string& text) {
    XXH128_canonical_t canonical{};
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(text.data(), text.size()));
    return hex(canonical.digest);
  };
  const auto [order, pixels] = digests({{clip("a.tar", "k", {7, 300}), "PIXELS"}});
  EXPECT_EQ(order, expect(facts));
  EXPECT_EQ(pixels, expect(facts + "PIXELS"));
}

TEST(ClipRecordTest, DigestsSeeEveryDifference) {
  const Delivered first{clip("a.tar", "k", {0, 1}), "xy"};
  const Delivered second{clip("a.tar", "l", {0, 1}), "xy"};
  const auto whole = digests({first, second});
  EXPECT_EQ(digests({first, second}), whole);
  EXPECT_NE(digests({second, first}).first, whole.first);
  EXPECT_NE(digests({first}).first, whole.first);
  Delivered elsewhere = second;
  elsewhere.info.sample = std::make_shared<SampleFields>(SampleFields{"l", "b.tar", {}});
  EXPECT_EQ(digests({first, elsewhere}), whole);  // the same shard by another path
  elsewhere.info.id.shard = 9;
  EXPECT_NE(digests({first, elsewhere}).first, whole.first);
  EXPECT_NE(digests({first, {clip("a.tar", "l", {0, 2}), "xy"}}).first, whole.first);
  // A frame index is not taken for part of the key.
  EXPECT_NE(digests({{clip("a", "k", {1}), ""}}).first, digests({{clip("a", "k1", {}), ""}}).first);

  const auto other_pixels = digests({first, {second.info, "xz"}});
  EXPECT_EQ(other_pixels.first, whole.first);
  EXPECT_NE(other_pixels.second, whole.second);
}

TEST(ClipRecordTest, RunDigestDependsOnTheOrderOfLanes) {
  const Digest a{1}, b{2};
  EXPECT_EQ(combine(std::vector{a, b}), combine(std::vector{a, b}));
  EXPECT_NE(combine(std::vector{a, b}), combine(std::vector{b, a}));
  EXPECT_NE(combine(std::vector{a}), a);
}

TEST(ClipRecordTest, LinesHoldTheFacts) {
  const std::string line = clip_line(clip("a.tar", "dir/k", {3, 5}), 1, bytes("pixels"));
  EXPECT_EQ(line.back(), '\n');
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const Json expected = Json::parse(R"({
    "id": {"epoch": 1, "shard": 2, "sample": 3, "window": 4},
    "key": "dir/k", "shard": "a.tar", "lane": 1, "frame_indices": [3, 5], "pts": [0.25, 0.25]
  })");
  Json found = Json::parse(line);
  EXPECT_EQ(found["xxh64"].get<std::string>().size(), 16U);
  found.erase("xxh64");
  EXPECT_EQ(found, expected);
}

TEST(ClipRecordTest, PixelHashIsXxh64) {
  // The published value for no input with seed 0.
  EXPECT_EQ(Json::parse(clip_line(clip("a", "k", {}), 0, {}))["xxh64"], "ef46db3751d8e999");
}

TEST(ClipRecordTest, NamesThatAreNotUtf8KeepTheirBytes) {
  const Json line = Json::parse(clip_line(clip("good\xc3\xa9.tar", "k\xff\\z", {}), 0, {}));
  EXPECT_EQ(line["key"], "k\xef\xbf\xbd\\z");
  EXPECT_EQ(line["key_hex"], "6bff5c7a");
  EXPECT_EQ(line["shard"], "good\xc3\xa9.tar");
  EXPECT_FALSE(line.contains("shard_hex"));
}

TEST(ClipRecordTest, UnknownTimesAreNull) {
  ClipInfo info = clip("a", "k", {0});
  info.pts_seconds = {std::numeric_limits<double>::quiet_NaN()};
  EXPECT_TRUE(Json::parse(clip_line(info, 0, {}))["pts"][0].is_null());
}

}  // namespace
}  // namespace shardreel::tools
