#include "shardreel/shard_writer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <random>

#include "shardreel/shard_reader.h"
#include "shardreel/units.h"
#include "shards/tar_header.h"
#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::shared_ptr<const RandomAccess> memory(const std::string& text) {
  auto bytes = heap_allocator().try_allocate(text.size());
  std::copy_n(reinterpret_cast<const std::byte*>(text.data()), text.size(), bytes->span().begin());
  return memory_source(std::make_shared<const OwnedBytes>(std::move(*bytes)));
}

Result<void> put(ShardWriter& writer, const SampleText& sample) {
  std::vector<FieldToWrite> fields;
  for (const auto& [name, bytes] : sample.fields) fields.push_back({name, memory(bytes)});
  return writer.write(sample.key, fields);
}

std::string refusal(ShardWriter& writer, const SampleText& sample) {
  auto written = put(writer, sample);
  EXPECT_FALSE(written) << sample.key;
  return written ? "" : written.error().message;
}

std::vector<std::string> files_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<SampleText> random_samples(std::mt19937_64& random) {
  const auto below = [&random](std::size_t n) { return random() % n; };
  const std::vector<std::string> folders{
      "",          "d/", "d.v1/e/", std::string(90, 'f') + "/", std::string(160, 'g') + "/",
      "\xff\xfe/", "ü/"};
  const std::vector<std::string> names{
      "jpg", "mp4", "seg.png", "", "txt", "é", std::string(150, 'n')};
  std::vector<SampleText> samples;
  for (std::size_t i = below(20); i > 0; --i) {
    SampleText sample{folders[below(folders.size())] + fmt::format("k{}", i), {}};
    auto pool = names;
    std::shuffle(pool.begin(), pool.end(), random);
    pool.resize(1 + below(4));
    std::sort(pool.begin(), pool.end());  // the order that comes back
    for (const auto& name : pool) {
      const std::vector<std::size_t> sizes{0, 1, 511, 512, 513, 1024, below(70000)};
      std::string bytes(sizes[below(sizes.size())], '\0');
      for (char& c : bytes) c = static_cast<char>(random());
      sample.fields.emplace_back(name, std::move(bytes));
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

TEST(ShardWriter, WhatIsWrittenReadsBack) {
  std::mt19937_64 random(test_seed());
  for (std::uint64_t round = rounds(400); round > 0; --round) {
    const ScratchDir scratch;
    const auto samples = random_samples(random);
    ShardWriterOptions options{scratch / "out", "s-", random() % 5, random() % 3 * 50000, false};
    auto writer = ShardWriter::create(options);
    ASSERT_TRUE(writer);
    for (const auto& sample : samples) ASSERT_TRUE(put(*writer, sample));
    auto shards = writer->finish();
    ASSERT_TRUE(shards);
    std::vector<SampleText> back;
    for (const auto& shard : *shards) {
      auto content = read_path(shard.path);
      EXPECT_THAT(content.failures, IsEmpty());
      EXPECT_EQ(content.samples.size(), shard.samples);
      EXPECT_EQ(std::filesystem::file_size(shard.path), shard.bytes);
      EXPECT_EQ(shard.bytes % 10240, 0U);
      std::uint64_t payload = 0;
      for (auto& sample : content.samples) {
        for (const auto& [name, bytes] : sample.fields) payload += bytes.size();
        back.push_back(std::move(sample));
      }
      EXPECT_TRUE(options.max_samples == 0 || shard.samples <= options.max_samples);
      EXPECT_TRUE(options.max_bytes == 0 || shard.samples == 1 || payload <= options.max_bytes);
    }
    EXPECT_EQ(back, samples);
    EXPECT_EQ(files_in(scratch / "out").size(), shards->size()) << "something was left behind";
  }
}

TEST(ShardWriter, OtherReadersAgree) {
  std::mt19937_64 random(test_seed());
  const ScratchDir scratch;
  auto writer = ShardWriter::create({scratch / "out"});
  ASSERT_TRUE(writer);
  std::string expected;
  for (std::uint64_t round = 0; round < 5; ++round) {
    for (auto& sample : random_samples(random)) {
      sample.key = fmt::format("r{}/", round) + sample.key;
      ASSERT_TRUE(put(*writer, sample));
      for (const auto& [name, bytes] : sample.fields) {
        expected += sample.key + "." + name + " " + std::to_string(bytes.size()) + "\n";
      }
    }
  }
  ASSERT_TRUE(writer->finish());
  const std::string path = scratch / "out/shard-000000.tar";
  write_file(scratch / "list.py",
             "import sys, tarfile\n"
             "for m in tarfile.open(sys.argv[1]):\n"
             "    assert (m.mode, m.uid, m.gid, m.mtime, m.type) == (0o444, 0, 0, 0, b'0'), m\n"
             "    line = f'{m.name} {m.size}\\n'\n"
             "    sys.stdout.buffer.write(line.encode('utf-8', 'surrogateescape'))\n");
  EXPECT_EQ(run_command("PYTHONUTF8=1 /usr/bin/python3 " + (scratch / "list.py") + " " + path),
            expected);
  std::string names = expected;
  const std::string by_tar = run_command("tar --quoting-style=literal -tf " + path);
  std::string from_python;
  std::istringstream lines(expected);
  for (std::string line; std::getline(lines, line);) {
    from_python += line.substr(0, line.rfind(' ')) + "\n";
  }
  EXPECT_EQ(by_tar, from_python);
}

TEST(ShardWriter, SameInputGivesTheSameBytes) {
  const ScratchDir scratch;
  std::vector<std::string> made;
  for (const char* folder : {"one", "two"}) {
    auto writer = ShardWriter::create({scratch / folder});
    ASSERT_TRUE(writer);
    ASSERT_TRUE(put(*writer, {"ü" + std::string(120, 'x'), {{"txt", "1"}, {"cls", "2"}}}));
    ASSERT_TRUE(writer->finish());
    made.push_back(read_file(scratch / (std::string(folder) + "/shard-000000.tar")));
  }
  EXPECT_EQ(made[0], made[1]);
  // Python with the same fixed owner, mode and time writes the same plain ustar members.
  auto writer = ShardWriter::create({scratch / "three"});
  ASSERT_TRUE(put(*writer, {"a", {{"txt", "hello"}, {"cls", std::string(700, 'c')}}}));
  ASSERT_TRUE(put(*writer, {std::string(90, 'd') + "/" + std::string(90, 'k'), {{"txt", ""}}}));
  ASSERT_TRUE(writer->finish());
  write_file(scratch / "make.py", R"(
import io, sys, tarfile
with tarfile.open(sys.argv[1], 'w', format=tarfile.USTAR_FORMAT) as t:
    for name, data in [('a.cls', b'c' * 700), ('a.txt', b'hello'), ('d' * 90 + '/' + 'k' * 90 + '.txt', b'')]:
        i = tarfile.TarInfo(name); i.size = len(data); i.mode = 0o444; t.addfile(i, io.BytesIO(data))
)");
  run_command("/usr/bin/python3 " + (scratch / "make.py") + " " + (scratch / "python.tar"));
  std::string python = read_file(scratch / "python.tar");
  std::string ours = read_file(scratch / "three/shard-000000.tar");
  ASSERT_EQ(ours.size(), python.size());
  for (const std::size_t header : {std::size_t{0}, std::size_t{1536}, std::size_t{2560}}) {
    for (std::string* archive : {&ours, &python}) {
      archive->replace(header + 148, 8, 8, ' ');    // checksums: follow from the rest
      archive->replace(header + 329, 16, 16, ' ');  // device numbers: empty or zero
    }
  }
  EXPECT_EQ(ours, python);
}

TEST(ShardWriter, RollsBeforeTheBound) {
  const ScratchDir scratch;
  auto writer = ShardWriter::create({scratch.path(), "s-", 0, 1000, false});
  for (int i = 0; i < 7; ++i) {
    ASSERT_TRUE(
        put(*writer, {fmt::format("k{}", i), {{"x", std::string(i == 6 ? 5000 : 400, 'x')}}}));
  }
  const auto shards = writer->finish().value();
  std::vector<std::uint64_t> counts;
  for (const auto& shard : shards) counts.push_back(shard.samples);
  EXPECT_THAT(counts, ElementsAre(2, 2, 2, 1));
  EXPECT_EQ(shards[3].path, scratch / "s-000003.tar");
}

TEST(ShardWriter, RefusesNamesThatWouldNotReadBack) {
  const ScratchDir scratch;
  auto writer = ShardWriter::create({scratch.path()});
  ASSERT_TRUE(writer);
  EXPECT_THAT(refusal(*writer, {"", {{"x", "1"}}}), HasSubstr("empty"));
  EXPECT_THAT(refusal(*writer, {"a.b", {{"x", "1"}}}), HasSubstr("key 'a' with field 'b.x'"));
  EXPECT_THAT(refusal(*writer, {"d", {{"a.x\nb/c", "1"}}}), HasSubstr("ignore"));
  EXPECT_THAT(refusal(*writer, {"a", {{"X", "1"}}}), HasSubstr("lower"));
  EXPECT_THAT(refusal(*writer, {"a", {{"x/y", "1"}}}), HasSubstr("ignore"));
  EXPECT_THAT(refusal(*writer, {"__x__/a", {{"x", "1"}}}), HasSubstr("metadata"));
  EXPECT_THAT(refusal(*writer, {"a", {{"__key__", "1"}}}), HasSubstr("reserved"));
  EXPECT_THAT(refusal(*writer, {"a", {{"__bad__", "1"}}}), HasSubstr("reserved"));
  EXPECT_THAT(refusal(*writer, {"a", {{"x", "1"}, {"x", "2"}}}), HasSubstr("twice"));
  EXPECT_THAT(refusal(*writer, {"a", {}}), HasSubstr("no fields"));
  EXPECT_THAT(refusal(*writer, {std::string("a\0b", 3), {{"x", "1"}}}), HasSubstr("zero byte"));
  EXPECT_THAT(files_in(scratch.path()), IsEmpty());
  ASSERT_TRUE(put(*writer, {"a", {{"x", "1"}}}));
  EXPECT_THAT(refusal(*writer, {"a", {{"y", "1"}}}), HasSubstr("twice in a row"));
  ASSERT_TRUE(put(*writer, {"b", {{"x", "1"}}}));
  EXPECT_EQ(writer->finish().value().at(0).samples, 2U);
  EXPECT_THAT(refusal(*writer, {"c", {{"x", "1"}}}), HasSubstr("finish"));
}

TEST(ShardWriter, ShowsNothingBeforeItIsComplete) {
  const ScratchDir scratch;
  {
    auto writer = ShardWriter::create({scratch.path()});
    ASSERT_TRUE(put(*writer, {"a", {{"x", "1"}}}));
    for (const auto& name : files_in(scratch.path())) EXPECT_TRUE(name.starts_with('.')) << name;
  }
  EXPECT_THAT(files_in(scratch.path()), IsEmpty());
  auto moved = ShardWriter::create({scratch.path()});
  ShardWriter writer = std::move(*moved);
  EXPECT_THAT(writer.finish().value(), IsEmpty()) << "no samples, no shard";
}

TEST(ShardWriter, LeavesExistingShardsAlone) {
  const ScratchDir scratch;
  write_file(scratch / "shard-000000.tar", "precious");
  auto writer = ShardWriter::create({scratch.path()});
  EXPECT_THAT(refusal(*writer, {"a", {{"x", "1"}}}), HasSubstr("is there already"));
  EXPECT_EQ(read_file(scratch / "shard-000000.tar"), "precious");
  ShardWriterOptions options{scratch.path()};
  options.overwrite = true;
  auto replacing = ShardWriter::create(options);
  ASSERT_TRUE(put(*replacing, {"a", {{"x", "1"}}}));
  ASSERT_TRUE(replacing->finish());
  EXPECT_EQ(read_path(scratch / "shard-000000.tar").samples.size(), 1U);
  // One that appears while the shard is written is not replaced either.
  auto late = ShardWriter::create({scratch / "late"});
  ASSERT_TRUE(put(*late, {"a", {{"x", "1"}}}));
  write_file(scratch / "late/shard-000000.tar", "precious");
  EXPECT_FALSE(late->finish());
  EXPECT_EQ(read_file(scratch / "late/shard-000000.tar"), "precious");
  EXPECT_EQ(files_in(scratch / "late").size(), 1U);
}

TEST(ShardWriter, FailsCleanlyOnAFullDisk) {
  const ScratchDir scratch;
  auto writer = ShardWriter::create({scratch.path()});
  ASSERT_TRUE(put(*writer, {"a", {{"x", "1"}}}));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{100'000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight);
  auto written = put(*writer, {"b", {{"x", std::string(300'000, 'x')}}});
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::kIo);
  EXPECT_EQ(written.error().key, "b");
  EXPECT_THAT(files_in(scratch.path()), IsEmpty());
  EXPECT_THAT(writer->finish().value(), IsEmpty());
}

TEST(ShardWriter, SaysWhyItCannotStart) {
  const ScratchDir scratch;
  write_file(scratch / "file", "");
  EXPECT_FALSE(ShardWriter::create({scratch / "file/below"}));
  EXPECT_FALSE(ShardWriter::create({""}));
  EXPECT_FALSE(ShardWriter::create({scratch.path(), "a/b"}));
}

TEST(TarHeaders, UsePaxForSizesThatDoNotFit) {
  std::string headers;
  append_tar_headers("a.mp4", 8_GiB, headers);
  ASSERT_EQ(headers.size(), 1536U);
  EXPECT_THAT(headers, HasSubstr("19 size=8589934592\n"));
  headers.clear();
  append_tar_headers("a.mp4", 8_GiB - 1, headers);
  EXPECT_EQ(headers.size(), 512U);
}

}  // namespace
}  // namespace shardreel::testing
