#include "tests/shards/shard_testing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <ostream>
#include <sstream>

namespace shardreel::testing {
namespace {

class PipeStream final : public ByteStream {
 public:
  PipeStream(std::string bytes, std::size_t piece) : bytes_(std::move(bytes)), piece_(piece) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    const std::size_t count = std::min({into.size(), piece_, bytes_.size() - given_});
    std::memcpy(into.data(), bytes_.data() + given_, count);
    given_ += count;
    return count;
  }

 private:
  std::string bytes_;
  std::size_t given_ = 0;
  std::size_t piece_;
};

}  // namespace

std::string tar_header(const std::string& name, std::uint64_t size, char type) {
  std::array<char, 512> block{};
  std::copy_n(name.begin(), std::min<std::size_t>(name.size(), 100), block.begin());
  std::snprintf(block.data() + 100, 8, "%07o", 0644U);
  std::snprintf(block.data() + 108, 8, "%07o", 0U);
  std::snprintf(block.data() + 116, 8, "%07o", 0U);
  std::snprintf(block.data() + 124, 12, "%011llo", static_cast<unsigned long long>(size));
  std::snprintf(block.data() + 136, 12, "%011o", 0U);
  std::memset(block.data() + 148, ' ', 8);
  block[156] = type;
  std::memcpy(block.data() + 257,
              "ustar\0"
              "00",
              8);
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  std::snprintf(block.data() + 148, 8, "%06o", sum);
  block[155] = ' ';
  return {block.data(), block.size()};
}

std::string tar_member(const std::string& name, const std::string& content, char type) {
  return tar_header(name, content.size(), type) + content +
         std::string((512 - content.size() % 512) % 512, '\0');
}

std::string tar_end() { return std::string(1024, '\0'); }

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good()) << path;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream all;
  all << file.rdbuf();
  return all.str();
}

std::unique_ptr<ByteStream> pipe_stream(std::string bytes, std::size_t piece) {
  return std::make_unique<PipeStream>(std::move(bytes), piece);
}

ShardContent read_all(ShardReader& reader) {
  ShardContent content;
  std::uint64_t ordinal = 0;
  for (bool fatal = false;;) {
    ReadStep step = reader.step();
    if (std::holds_alternative<ShardEnd>(step)) break;
    EXPECT_FALSE(fatal) << "something came after a fatal failure";
    if (auto* sample = std::get_if<Sample>(&step)) {
      EXPECT_GE(sample->ordinal, ordinal);
      ordinal = sample->ordinal + 1;
      SampleText text{sample->key, {}};
      for (const Field& field : sample->fields) {
        auto bytes = field.text();
        EXPECT_TRUE(bytes) << bytes.error().describe();
        if (!bytes) continue;
        EXPECT_EQ(bytes->size(), field.size);
        text.fields.emplace_back(field.name, *bytes);
      }
      content.samples.push_back(std::move(text));
      content.raw.push_back(std::move(*sample));
    } else if (auto* failed = std::get_if<FailedSample>(&step)) {
      EXPECT_GE(failed->ordinal, ordinal);
      ordinal = failed->ordinal + 1;
      fatal = failed->fatal;
      EXPECT_FALSE(failed->error.message.empty());
      content.failures.push_back(std::move(*failed));
    } else {
      EXPECT_GT(std::get<NeedsMemory>(step).bytes, 0U);
      ++content.memory_refusals;
    }
  }
  EXPECT_TRUE(std::holds_alternative<ShardEnd>(reader.step())) << "the end is not the end";
  return content;
}

ShardContent read_stream(const std::string& bytes, ShardReaderOptions options) {
  ShardReader reader(pipe_stream(bytes), "test.tar", std::move(options));
  return read_all(reader);
}

ShardContent read_path(const std::string& path, ShardReaderOptions options) {
  auto stream = open_file(path);
  EXPECT_TRUE(stream) << stream.error().describe();
  if (!stream) return {};
  ShardReader reader(std::move(*stream), path, std::move(options));
  return read_all(reader);
}

ShardReaderOptions compat() {
  ShardReaderOptions options;
  options.integrity = Integrity::kCompat;
  return options;
}

std::optional<OwnedBytes> RefusingAllocator::try_allocate(std::size_t bytes) {
  largest = std::max(largest, bytes);
  if (++calls_ % 2 == 1) {
    ++refusals;
    return std::nullopt;
  }
  return heap_allocator().try_allocate(bytes);
}

void PrintTo(const SampleText& sample, std::ostream* out) {
  *out << sample.key << "{";
  for (const auto& [name, bytes] : sample.fields) {
    *out << name << "=" << (bytes.size() > 40 ? std::to_string(bytes.size()) + " bytes" : bytes)
         << ";";
  }
  *out << "}";
}

}  // namespace shardreel::testing
