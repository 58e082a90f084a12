// Archives of other writers: GNU tar, Python's tarfile, the shared files. (tests/conformance
// compares with other readers.)
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <clocale>
#include <fstream>

#include "shardreel/shard_reader.h"
#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string hex(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

TEST(Dialects, ReadsWhatGnuTarWrites) {
  const ScratchDir scratch;
  std::filesystem::create_directories(scratch / "in/folder.v1");
  write_file(scratch / "in/a.mp4", std::string(3000, 'm'));
  write_file(scratch / "in/a.txt", "text");
  write_file(scratch / "in/folder.v1/b.rgb.mp4", "");
  const std::string longer = std::string(80, 'x') + "/" + std::string(120, 'y');
  std::filesystem::create_directories(scratch / ("in/z" + std::string(80, 'x')));
  const std::string long_name = "z" + longer;
  std::vector<SampleText> expected{{"a", {{"mp4", std::string(3000, 'm')}, {"txt", "text"}}},
                                   {"folder.v1/b", {{"rgb.mp4", ""}}}};
  for (const std::string format : {"v7", "oldgnu", "gnu", "ustar", "pax", "posix"}) {
    const bool long_names = format != "v7" && format != "ustar";
    if (long_names) write_file(scratch / ("in/" + long_name + ".txt"), "long");
    for (const auto& [option, suffix] : std::vector<std::pair<std::string, std::string>>{
             {"", ""}, {"-z", ".gz"}, {"-j", ".bz2"}, {"-J", ".xz"}, {"--zstd", ".zst"}}) {
      const std::string path = scratch / (format + ".tar" + suffix);
      run_command(fmt::format("cd {} && tar --format={} --sort=name {} -cf {} $(ls)",
                              scratch / "in", format, option, path));
      auto wanted = expected;
      if (long_names) wanted.push_back({long_name, {{"txt", "long"}}});
      for (const auto& options : {ShardReaderOptions{}, compat()}) {
        const bool known = suffix != ".zst" || options.integrity == Integrity::kStrict;
        if (!known) continue;  // the reference does not read zstd
        const auto content = read_path(path, options);
        EXPECT_EQ(content.samples, wanted) << path;
        EXPECT_THAT(content.failures, IsEmpty()) << path << content.failures[0].error.describe();
      }
    }
    std::filesystem::remove(scratch / ("in/" + long_name + ".txt"));
  }
}

TEST(Dialects, ReadsSparseFilesAtTheirLogicalSize) {
  const ScratchDir scratch;
  // A hole, data, a hole, data, a hole: and one file that is nothing but a hole.
  run_command(
      fmt::format("cd {} && truncate -s 1000000 a.bin && "
                  "printf middle | dd of=a.bin bs=1 seek=400000 conv=notrunc status=none && "
                  "printf more | dd of=a.bin bs=1 seek=700000 conv=notrunc status=none && "
                  "truncate -s 300000 b.bin && printf x > c.txt",
                  scratch.path().string()));
  const std::string a = read_file(scratch / "a.bin");
  ASSERT_EQ(a.size(), 1000000U);
  const std::vector<SampleText> expected{
      {"a", {{"bin", a}}}, {"b", {{"bin", std::string(300000, '\0')}}}, {"c", {{"txt", "x"}}}};
  for (const std::string format :
       {"--format=gnu", "--format=oldgnu", "--format=pax --sparse-version=0.0",
        "--format=pax --sparse-version=0.1", "--format=pax --sparse-version=1.0"}) {
    run_command(fmt::format("cd {} && tar {} --sparse -cf s.tar a.bin b.bin c.txt",
                            scratch.path().string(), format));
    ASSERT_LT(std::filesystem::file_size(scratch / "s.tar"), 100000U) << "tar found no holes";
    for (const std::uint64_t inline_bytes : {std::uint64_t{64} << 20, std::uint64_t{1000}}) {
      ShardReaderOptions options;
      options.member_inline_bytes = inline_bytes;
      options.spool_dir = scratch.path();
      const auto content = read_path(scratch / "s.tar", options);
      EXPECT_TRUE(content.samples == expected) << format << " " << inline_bytes;
      EXPECT_THAT(content.failures, IsEmpty()) << format;
    }
  }
}

// Note [Names are bytes]: whatever the locale of the program, names arrive as they are stored.
TEST(Dialects, NamesDoNotDependOnTheLocale) {
  const ScratchDir scratch;
  const std::vector<std::string> names{"u\xcc\x88", "\xc3\xbc", "\xff\xfe", "日本"};
  std::string script = "import tarfile, io\n";
  for (const char* format : {"PAX", "GNU"}) {
    script += fmt::format("t = tarfile.open('{}', 'w', format=tarfile.{}_FORMAT)\n",
                          scratch / (std::string(format) + ".tar"), format);
    for (const auto& name : names) {
      script += fmt::format(
          "i = tarfile.TarInfo(bytes.fromhex('{}').decode('utf-8', "
          "'surrogateescape') + '.x')\ni.size = 1\nt.addfile(i, io.BytesIO(b'1'))\n",
          hex(name));
    }
    script += "t.close()\n";
  }
  write_file(scratch / "make.py", script);
  run_command("PYTHONUTF8=1 /usr/bin/python3 " + (scratch / "make.py"));
  const std::string before = std::setlocale(LC_ALL, nullptr);
  for (const char* locale : {"C", "C.UTF-8", "en_US.ISO-8859-1"}) {
    std::setlocale(LC_ALL, locale);  // where it is installed
    for (const char* file : {"PAX.tar", "GNU.tar"}) {
      const auto content = read_path(scratch / file);
      std::vector<std::string> keys;
      for (const auto& sample : content.samples) keys.push_back(sample.key);
      EXPECT_EQ(keys, names) << locale << " " << file;
      EXPECT_THAT(content.failures, IsEmpty());
    }
  }
  std::setlocale(LC_ALL, before.c_str());
}

TEST(Dialects, ReadsTheSharedArchives) {
  const std::string media = shared_media_dir();
  if (media.empty() || !std::filesystem::exists(media + "/tars/manifest.csv")) {
    GTEST_SKIP() << "no shared media";
  }
  std::uint64_t archives = 0;
  for (const auto& entry : std::filesystem::directory_iterator(media + "/tars")) {
    const std::string name = entry.path().filename().string();
    if (name == "manifest.csv") continue;
    ++archives;
    const auto content = read_path(entry.path().string(), compat());
    const auto strict = read_path(entry.path().string());
    for (const auto& failed : strict.failures) {
      EXPECT_EQ(failed.error.shard, entry.path().string());
      EXPECT_TRUE(failed.error.offset.has_value()) << failed.error.describe();
    }
    if (strict.failures.empty()) {
      EXPECT_EQ(strict.samples, content.samples) << name;
    }
  }
  EXPECT_GT(archives, 30U);
  const auto count = [&](const char* name) {
    return read_path(media + "/tars/" + name).samples.size();
  };
  EXPECT_EQ(count("webdataset_compressed.tar"), 3U);
  EXPECT_EQ(count("webdataset_mpdata.tar"), 100U);
  EXPECT_EQ(count("webdataset_tendata.tar"), 100U);
  EXPECT_EQ(count("webdataset_sample.tar"), 90U);
  EXPECT_EQ(count("rom1504_image1.tar"), 4U);
  EXPECT_EQ(count("NVIDIA_single-png-cls.tar"), 1U);
  EXPECT_EQ(count("lhotse-speech_features.000000.tar"), 2U);
}

}  // namespace
}  // namespace shardreel::testing
