// Reading by an index against reading in order: every step is the same, and nothing is read that
// nobody wants.

#include "loader/read/sample_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "shardreel/shard_writer.h"
#include "tests/support/scratch.h"
#include "tests/support/test_shards.h"
#include "tools/commands/index_build.h"

namespace shardreel {
namespace {

using testing::ScratchDir;

class Counting final : public RandomAccess {
 public:
  explicit Counting(std::shared_ptr<const RandomAccess> of) : of_(std::move(of)) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return of_->size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    bytes += into.size();
    return of_->read_at(offset, into);
  }
  mutable std::uint64_t bytes = 0;

 private:
  std::shared_ptr<const RandomAccess> of_;
};

/// Refuses at random, and whatever is beyond `capacity` for one sample, as a slot's share does.
class Moody final : public ByteAllocator {
 public:
  Moody(std::uint64_t capacity, std::uint64_t seed) : capacity_(capacity), random_(seed) {}
  std::optional<OwnedBytes> try_allocate(std::size_t bytes) override {
    if (in_use + in_pages(bytes) > capacity_) {
      in_vain = true;
      return std::nullopt;
    }
    if (random_() % 4 == 0) return std::nullopt;
    in_use += in_pages(bytes);
    return OwnedBytes(new std::byte[bytes], bytes, [](std::byte* block) { delete[] block; });
  }
  std::uint64_t in_use = 0;
  bool in_vain = false;

 private:
  const std::uint64_t capacity_;
  std::mt19937_64 random_;
};

/// All steps as text.
std::vector<std::string> walk(SampleReader& reader, Moody& memory, std::uint64_t capacity) {
  std::vector<std::string> steps;
  while (true) {
    ReadStep step = reader.step();
    if (std::holds_alternative<ShardEnd>(step)) return steps;
    if (std::holds_alternative<NeedsMemory>(step)) {
      if (std::exchange(memory.in_vain, false)) reader.refuse(too_much_at_once(capacity));
      continue;
    }
    memory.in_use = 0;
    if (const auto* failed = std::get_if<FailedSample>(&step)) {
      steps.push_back(
          fmt::format("{} {} {}", failed->ordinal, failed->fatal, failed->error.describe()));
      continue;
    }
    const Sample& sample = std::get<Sample>(step);
    std::string text = fmt::format("{} {} {} {} {}", sample.ordinal, sample.key, sample.shard,
                                   sample.offset, sample.end_offset);
    for (const Field& field : sample.fields) {
      text += fmt::format(" [{} {} {} {} {} {} {}]", field.name, field.written_name, field.offset,
                          field.size, field.contiguous, field.content_offset, field.text().value());
    }
    steps.push_back(text);
  }
}

class SampleReaderTest : public ::testing::Test {
 protected:
  SampleReaderTest() : random_(testing::test_seed()) {}

  std::string make_shard() {
    auto writer = ShardWriter::create(
                      {.directory = dir_.path().string(), .prefix = fmt::format("{}-", shards_++)})
                      .value();
    const std::uint64_t samples = 1 + random_() % 12;
    for (std::uint64_t i = 0; i < samples; ++i) {
      std::vector<FieldToWrite> fields;
      for (const char* name : {"mp4", "cls", "txt", "mkv", "txt2"}) {
        if (random_() % 2 == 0 && name != std::string("mp4")) continue;
        const std::uint64_t sizes[] = {0, 1, 511, 512, 513, 5000, 20000};
        fields.push_back(
            {name, testing::content_of(std::string(sizes[random_() % std::size(sizes)],
                                                   static_cast<char>('a' + random_() % 26)))});
      }
      const char* folder = i % 3 == 0 ? "dir/" : "";
      const std::string tail = i % 5 == 4 ? std::string(120, 'k') : "";
      writer.write(fmt::format("{}k{}{}", folder, i, tail), fields).value();
    }
    return writer.finish().value().front().path;
  }

  ShardIndex index(const std::string& shard) {
    tools::IndexBuildOptions build;
    build.video_fields = {"mp4", "mkv"};
    const auto report = tools::index_shard(shard, build, {});
    EXPECT_EQ(report.state, tools::IndexState::kWritten) << report.reason;
    return ShardIndex::load(report.index).value();
  }

  ScratchDir dir_;
  std::mt19937_64 random_;
  int shards_ = 0;
};

TEST_F(SampleReaderTest, EveryStepIsTheSame) {
  for (std::uint64_t round = 0; round < testing::rounds(2000); ++round) {
    const std::string shard = make_shard();
    const ShardIndex known = index(shard);
    ShardReaderOptions options;
    options.large_fields = {"mp4", "mkv"};
    options.member_inline_bytes = random_() % 2 == 0 ? 1 << 20 : 600 + random_() % 10000;
    options.max_member_bytes = random_() % 2 == 0 ? 1 << 20 : 1000 + random_() % 20000;
    options.modulo = 1 + random_() % 4;
    options.remainder = random_() % options.modulo;
    const std::uint64_t capacity = random_() % 2 == 0 ? 1 << 20 : 4096 * (1 + random_() % 12);
    const auto largest =
        largest_sample(known, open_file(shard).value()->random_access()->size(), options);
    ASSERT_TRUE(largest);
    Moody first(capacity, round), second(capacity, round + 1);
    options.allocator = &first;
    const auto in_order = read_in_order(open_file(shard).value(), shard, options);
    const auto expected = walk(*in_order, first, capacity);
    options.allocator = &second;
    const auto by_index = read_by_index(open_file(shard).value()->random_access(), known, shard,
                                        options, {.capacity = capacity});
    ASSERT_EQ(walk(*by_index, second, capacity), expected) << shard;
  }
}

TEST_F(SampleReaderTest, NothingUnwantedIsRead) {
  for (std::uint64_t round = 0; round < testing::rounds(200); ++round) {
    const std::string shard = make_shard();
    const ShardIndex known = index(shard);
    const auto source = std::make_shared<Counting>(open_file(shard).value()->random_access());
    ShardReaderOptions options;
    options.large_fields = {"mp4", "mkv"};
    options.modulo = 1 + random_() % 3;
    options.remainder = random_() % options.modulo;
    const auto wants = [](const std::string& key) { return key.find('3') == std::string::npos; };
    const auto reader =
        read_by_index(source, known, shard, options, {.capacity = 1 << 30, .wants_key = wants});
    std::uint64_t samples = 0;
    while (true) {
      const ReadStep step = reader->step();
      if (std::holds_alternative<ShardEnd>(step)) break;
      const Sample& sample = std::get<Sample>(step);
      EXPECT_EQ(sample.ordinal % options.modulo, options.remainder);
      for (const Field& field : sample.fields)
        EXPECT_EQ(field.content != nullptr, wants(sample.key));
      ++samples;
    }
    std::uint64_t needed = 0, expected = 0;
    for (std::uint64_t i = 0; i < known.count(); ++i) {
      const IndexedSample sample = known.sample(i);
      if (sample.ordinal % options.modulo != options.remainder) continue;
      ++expected;
      for (const IndexedField& field : sample.fields) {
        if (wants(sample.key) && field.name != "mp4" && field.name != "mkv") needed += field.size;
      }
    }
    EXPECT_EQ(samples, expected);
    EXPECT_EQ(source->bytes, needed);
  }
}

}  // namespace
}  // namespace shardreel
