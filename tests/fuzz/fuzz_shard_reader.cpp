// A hostile shard: any bytes, as a stream and as a file, strict and compat. What must hold: it
// ends, nothing follows a fatal failure, ordinals rise, memory stays within what the options allow,
// and a stream gives what a file of the same bytes gives.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "shardreel/shard_reader.h"

namespace {

using namespace shardreel;

void require(bool held) {
  if (!held) std::abort();
}

std::shared_ptr<const OwnedBytes> copy_of(const std::uint8_t* data, std::size_t size) {
  auto bytes = heap_allocator().try_allocate(size);
  if (size > 0) std::memcpy(bytes->span().data(), data, size);
  return std::make_shared<const OwnedBytes>(std::move(*bytes));
}

class Stream final : public ByteStream {
 public:
  Stream(std::shared_ptr<const RandomAccess> bytes, bool as_file)
      : bytes_(std::move(bytes)), as_file_(as_file) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    auto got = bytes_->read_at(given_, into);
    given_ += *got;
    return got;
  }
  [[nodiscard]] std::shared_ptr<const RandomAccess> random_access() const override {
    return as_file_ ? bytes_ : nullptr;
  }

 private:
  std::shared_ptr<const RandomAccess> bytes_;
  std::uint64_t given_ = 0;
  bool as_file_;
};

/// Refuses every third request once, and everything that the options do not allow.
class Allocator final : public ByteAllocator {
 public:
  std::optional<OwnedBytes> try_allocate(std::size_t bytes) override {
    require(bytes <= kInlineBytes);
    if (++calls_ % 3 == 0) return std::nullopt;
    return heap_allocator().try_allocate(bytes);
  }
  static constexpr std::size_t kInlineBytes = 4096;

 private:
  std::uint64_t calls_ = 0;
};

std::vector<std::string> samples_of(const std::shared_ptr<const RandomAccess>& bytes, bool as_file,
                                    Integrity integrity) {
  Allocator allocator;
  ShardReaderOptions options;
  options.integrity = integrity;
  options.allocator = &allocator;
  options.member_inline_bytes = Allocator::kInlineBytes;
  options.max_member_bytes = 1 << 20;
  options.large_fields = {"mp4", "x"};
  ShardReader reader(std::make_unique<Stream>(bytes, as_file), "fuzz", options);
  std::vector<std::string> all;
  std::uint64_t next = 0;
  bool fatal = false;
  while (true) {
    ReadStep step = reader.step();
    if (std::holds_alternative<ShardEnd>(step)) break;
    if (std::holds_alternative<NeedsMemory>(step)) continue;
    require(!fatal);
    if (const auto* failed = std::get_if<FailedSample>(&step)) {
      require(failed->ordinal >= next && failed->error.shard == "fuzz");
      next = failed->ordinal + 1;
      fatal = failed->fatal;
      continue;
    }
    const auto& sample = std::get<Sample>(step);
    require(sample.ordinal >= next && !sample.key.empty());
    next = sample.ordinal + 1;
    std::string text = sample.key;
    for (const Field& field : sample.fields) {
      auto content = field.text();
      require(content.has_value() && content->size() == field.size);
      text += '\0' + field.name + '\0' + *content;
    }
    all.push_back(std::move(text));
  }
  require(std::holds_alternative<ShardEnd>(reader.step()));
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = memory_source(copy_of(data, size));
  for (const Integrity integrity : {Integrity::kStrict, Integrity::kCompat}) {
    require(samples_of(bytes, true, integrity) == samples_of(bytes, false, integrity));
  }
  return 0;
}
