// Whatever the writer takes reads back the same: here, and with Python's tarfile, which knows
// nothing of ours. Names are random bytes of any length.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "shardreel/shard_writer.h"
#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::size_t below(std::size_t n) { return engine_() % n; }
  std::string bytes(std::size_t count) {
    std::string text(count, '\0');
    for (char& c : text) c = static_cast<char>(engine_() & 0xFF);
    return text;
  }

  /// Any bytes, or those that names and headers are made of.
  std::string name(std::size_t most) {
    static const std::string alphabet = "aAbz09./_- \n\t=%@\xc3\xa9\xff";
    std::string text;
    if (below(4) == 0) {
      text = bytes(below(most));
    } else {
      for (std::size_t i = below(most); i > 0; --i) text += alphabet[below(alphabet.size())];
    }
    return text;
  }

  SampleText sample() {
    static const std::vector<std::size_t> lengths{5, 20, 99, 101, 256, 600, 3000};
    static const std::vector<std::size_t> sizes{0, 1, 511, 512, 513, 5000, 70000};
    SampleText sample{name(lengths[below(lengths.size())]), {}};
    if (below(3) != 0) sample.key = fmt::format("k{}", below(1000));
    for (std::size_t i = below(4); i > 0; --i) {
      std::string field = below(2) == 0 ? fmt::format("f{}", i) : name(12);
      sample.fields.emplace_back(std::move(field), bytes(sizes[below(sizes.size())]));
    }
    return sample;
  }

 private:
  std::mt19937_64 engine_;
};

Result<void> put(ShardWriter& writer, const SampleText& sample) {
  std::vector<FieldToWrite> fields;
  for (const auto& [name, text] : sample.fields) {
    auto block = heap_allocator().try_allocate(text.size());
    std::copy_n(reinterpret_cast<const std::byte*>(text.data()), text.size(),
                block->span().begin());
    fields.push_back({name, memory_source(std::make_shared<const OwnedBytes>(std::move(*block)))});
  }
  return writer.write(sample.key, fields);
}

/// "NAME SIZE SUM" of every member, the name in hex.
std::string list_of(const std::vector<SampleText>& samples) {
  std::string list;
  for (const auto& sample : samples) {
    for (const auto& [name, bytes] : sample.fields) {
      for (const char c : sample.key + "." + name) {
        list += fmt::format("{:02x}", static_cast<unsigned char>(c));
      }
      std::uint64_t sum = 0;
      for (const char c : bytes) sum = sum * 31 % 1000003 + static_cast<unsigned char>(c);
      list += fmt::format(" {} {}\n", bytes.size(), sum);
    }
  }
  return list;
}

TEST(RoundTrip, WhatIsWrittenReadsBackHereAndInPython) {
  Random random(test_seed());
  const ScratchDir scratch;
  write_file(scratch / "list.py",
             "import sys, tarfile\n"
             "for m in (tar := tarfile.open(sys.argv[1])):\n"
             "    data, total = tar.extractfile(m).read(), 0\n"
             "    for byte in data: total = (total * 31 % 1000003) + byte\n"
             "    print(m.name.encode('utf-8', 'surrogateescape').hex(), len(data), total)\n");
  std::uint64_t taken = 0, refused = 0;
  for (std::uint64_t round = 0; round < rounds(200); ++round) {
    const std::string folder = scratch / fmt::format("{}", round);
    auto writer = ShardWriter::create({folder});
    ASSERT_TRUE(writer);
    std::vector<SampleText> written;
    for (std::size_t i = 1 + random.below(30); i > 0; --i) {
      SampleText sample = random.sample();
      if (put(*writer, sample)) {
        std::sort(sample.fields.begin(), sample.fields.end());
        written.push_back(std::move(sample));
      } else {
        ++refused;
      }
    }
    taken += written.size();
    const auto shards = writer->finish();
    ASSERT_TRUE(shards) << shards.error().describe();
    if (written.empty()) continue;
    ASSERT_EQ(shards->size(), 1U);
    const std::string path = shards->front().path;
    for (const auto& options : {ShardReaderOptions{}, compat()}) {
      const auto back = read_path(path, options);
      EXPECT_TRUE(back.failures.empty()) << back.failures[0].error.describe();
      EXPECT_TRUE(back.samples == written) << path << " round " << round;
    }
    EXPECT_EQ(
        run_command(fmt::format("PYTHONUTF8=1 /usr/bin/python3 {} {}", scratch / "list.py", path)),
        list_of(written));
  }
  EXPECT_GT(taken, 0U);
  EXPECT_GT(refused, 0U);
}

/// Claims to be large and is all zeros but for its last byte: nothing of it is held.
class LargeFile final : public RandomAccess {
 public:
  explicit LargeFile(std::uint64_t size) : size_(size) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset >= size_) return std::size_t{0};
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), size_ - offset));
    std::fill_n(into.begin(), count, std::byte{0});
    if (offset + count == size_) into[count - 1] = std::byte{7};
    return count;
  }

 private:
  std::uint64_t size_;
};

TEST(RoundTrip, MembersBeyondEightGibibytes) {
  if (rounds(20) == 1) GTEST_SKIP() << "writes 9 GiB: with SHARDREEL_FULL_TESTS=1 only";
  const ScratchDir scratch;
  if (std::filesystem::space(scratch.path()).available < (std::uint64_t{12} << 30)) {
    GTEST_SKIP() << "no room for 9 GiB";
  }
  auto writer = ShardWriter::create({scratch / "out"});
  ASSERT_TRUE(writer);
  constexpr std::uint64_t kSize = (std::uint64_t{9} << 30) + 1;
  const std::vector<FieldToWrite> fields{{"bin", std::make_shared<LargeFile>(kSize)}};
  ASSERT_TRUE(writer->write("a", fields));
  ASSERT_TRUE(put(*writer, {"b", {{"txt", "behind"}}}));
  const auto shards = writer->finish();
  ASSERT_TRUE(shards);
  for (const Integrity integrity : {Integrity::kStrict, Integrity::kCompat}) {
    auto stream = open_file(shards->front().path);
    ASSERT_TRUE(stream);
    ShardReaderOptions options;
    options.integrity = integrity;
    ShardReader reader(std::move(*stream), "large", options);
    ReadStep step = reader.step();
    ASSERT_TRUE(std::holds_alternative<Sample>(step));
    const Field& field = std::get<Sample>(step).fields.at(0);
    EXPECT_EQ(field.size, kSize);
    std::byte last{};
    ASSERT_TRUE(field.content->read_at(kSize - 1, {&last, 1}));
    EXPECT_EQ(last, std::byte{7});
    step = reader.step();
    ASSERT_TRUE(std::holds_alternative<Sample>(step));
    EXPECT_EQ(std::get<Sample>(step).key, "b");
    EXPECT_TRUE(std::holds_alternative<ShardEnd>(reader.step()));
  }
}

}  // namespace
}  // namespace shardreel::testing
