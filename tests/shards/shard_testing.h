#pragma once
// Archives built byte by byte, and a shard read to its end, for the tests of this folder.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "shardreel/shard_reader.h"

namespace shardreel::testing {

/// A ustar header block, written here independently of the product.
std::string tar_header(const std::string& name, std::uint64_t size, char type = '0');
/// Header, content and padding.
std::string tar_member(const std::string& name, const std::string& content, char type = '0');
/// The two zero blocks.
std::string tar_end();

void write_file(const std::string& path, const std::string& bytes);
std::string read_file(const std::string& path);

/// Bytes as a stream that gives at most `piece` a call and has no random access.
std::unique_ptr<ByteStream> pipe_stream(std::string bytes, std::size_t piece = 1000);

using FieldText = std::pair<std::string, std::string>;
struct SampleText {
  std::string key;
  std::vector<FieldText> fields;
  bool operator==(const SampleText&) const = default;
};

/// What came out of a shard, in order.
struct ShardContent {
  std::vector<SampleText> samples;
  std::vector<Sample> raw;
  std::vector<FailedSample> failures;
  std::uint64_t memory_refusals = 0;
};
ShardContent read_all(ShardReader& reader);
ShardContent read_stream(const std::string& bytes, ShardReaderOptions options = {});
ShardContent read_path(const std::string& path, ShardReaderOptions options = {});
ShardReaderOptions compat();

/// An allocator that refuses every second request at random places.
class RefusingAllocator final : public ByteAllocator {
 public:
  std::optional<OwnedBytes> try_allocate(std::size_t bytes) override;
  std::uint64_t refusals = 0;
  std::size_t largest = 0;

 private:
  std::uint64_t calls_ = 0;
};

void PrintTo(const SampleText& sample, std::ostream* out);

}  // namespace shardreel::testing
