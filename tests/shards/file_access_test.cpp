#include "shards/file_access.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shardreel/sample.h"
#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

std::shared_ptr<const RandomAccess> memory(const std::string& text) {
  auto bytes = heap_allocator().try_allocate(text.size());
  std::copy_n(reinterpret_cast<const std::byte*>(text.data()), text.size(), bytes->span().begin());
  return memory_source(std::make_shared<const OwnedBytes>(std::move(*bytes)));
}

std::string read_at(const RandomAccess& source, std::uint64_t offset, std::size_t count) {
  std::string text(count, '?');
  auto got = source.read_at(offset, std::as_writable_bytes(std::span(text)));
  EXPECT_TRUE(got);
  text.resize(got ? *got : 0);
  return text;
}

TEST(OpenFile, ReadsInOrderAndByOffset) {
  const ScratchDir scratch;
  write_file(scratch / "f", "0123456789");
  auto stream = open_file(scratch / "f");
  ASSERT_TRUE(stream);
  std::array<std::byte, 4> part{};
  EXPECT_EQ((*stream)->read(part).value(), 4U);
  EXPECT_EQ(part[3], std::byte{'3'});
  const auto file = (*stream)->random_access();
  EXPECT_EQ(file->size(), 10U);
  EXPECT_EQ(read_at(*file, 8, 5), "89");
  EXPECT_EQ((*stream)->read(part).value(), 4U);
  EXPECT_EQ(part[0], std::byte{'4'});
  EXPECT_EQ((*stream)->read(part).value(), 2U);
  EXPECT_EQ((*stream)->read(part).value(), 0U);
}

/// How many pages of a file the kernel holds in memory.
std::size_t cached_pages(const std::string& path, std::size_t bytes) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  void* memory = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd.get(), 0);
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((bytes + page - 1) / page);
  EXPECT_EQ(mincore(memory, bytes, pages.data()), 0);
  munmap(memory, bytes);
  return static_cast<std::size_t>(
      std::count_if(pages.begin(), pages.end(), [](unsigned char one) { return (one & 1) != 0; }));
}

TEST(OpenFile, PagesStayOrGo) {
  const ScratchDir scratch;
  const std::string path = scratch / "f";
  const std::string content(std::size_t{4} << 20, 'x');
  write_file(path, content);
  const auto read_all = [&](FileCache cache) {
    auto stream = open_file(path, cache).value();
    const auto part = slice(stream->random_access(), 0, content.size());
    stream.reset();
    EXPECT_EQ(read_at(*part, 0, content.size()), content);
  };
  {
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    fsync(fd.get());  // pages that are not yet written stay
    posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    if (cached_pages(path, content.size()) != 0) GTEST_SKIP() << "this file system keeps its pages";
  }
  read_all(FileCache::kKeep);
  EXPECT_GT(cached_pages(path, content.size()), 512U);
  read_all(FileCache::kDrop);
  EXPECT_EQ(cached_pages(path, content.size()), 0U);
}

TEST(OpenFile, SaysWhatIsWrong) {
  const ScratchDir scratch;
  ASSERT_EQ(mkfifo((scratch / "fifo").c_str(), 0600), 0);
  const auto message = [](const std::string& path, ErrorCode code) {
    auto opened = open_file(path);
    EXPECT_FALSE(opened) << path;
    if (opened) return std::string();
    EXPECT_EQ(opened.error().code, code);
    return opened.error().message;
  };
  EXPECT_NE(message(scratch / "none", ErrorCode::kNotFound).find("No such file"),
            std::string::npos);
  EXPECT_NE(message("", ErrorCode::kNotFound).find("empty"), std::string::npos);
  EXPECT_NE(message(scratch.path(), ErrorCode::kIo).find("a directory"), std::string::npos);
  EXPECT_NE(message("/dev/null", ErrorCode::kIo).find("a character device"), std::string::npos);
  EXPECT_NE(message(scratch / "fifo", ErrorCode::kIo).find("a named pipe"), std::string::npos);
}

TEST(RandomAccess, SlicesStayWithinTheirRange) {
  const auto part = slice(memory("0123456789"), 2, 5);
  EXPECT_EQ(part->size(), 5U);
  EXPECT_EQ(read_at(*part, 0, 100), "23456");
  EXPECT_EQ(read_at(*part, 4, 2), "6");
  EXPECT_EQ(read_at(*part, 5, 2), "");
  EXPECT_EQ(read_at(*part, ~std::uint64_t{0}, 2), "");
  EXPECT_EQ(read_at(*memory("ab"), 7, 1), "");
}

TEST(Sample, FindsFieldsAndReadsText) {
  Sample sample;
  sample.fields.push_back({"a", 0, 2, memory("xy"), true});
  EXPECT_EQ(sample.find("b"), nullptr);
  ASSERT_NE(sample.find("a"), nullptr);
  EXPECT_EQ(sample.find("a")->text().value(), "xy");
  EXPECT_EQ(Field{}.text().value(), "");
}

TEST(SpoolFile, HoldsWhatWasWrittenAndZerosElsewhere) {
  const ScratchDir scratch;
  auto spool = SpoolFile::create(scratch.path(), 10);
  ASSERT_TRUE(spool);
  const std::string text = "abc";
  ASSERT_TRUE(spool->write(5, std::as_bytes(std::span(text))));
  const auto source = std::move(*spool).finish();
  EXPECT_EQ(read_at(*source, 0, 20), std::string("\0\0\0\0\0abc\0\0", 10));
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path())) << "the spool file has a name";
  auto refused = SpoolFile::create(scratch / "none", 10);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("none"), std::string::npos);
}

}  // namespace
}  // namespace shardreel::testing
