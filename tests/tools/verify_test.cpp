// Sets that are damaged on purpose: each damage is found, by its kind, shard, key and offset; whole
// sets are clean; no truncation and no hostile archive goes unnoticed or ends the program.

#include "tools/commands/verify.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "shardreel/shard_index.h"
#include "shardreel/shard_writer.h"
#include "shards/dataset_manifest.h"
#include "shards/sha256.h"
#include "tests/shards/shard_testing.h"
#include "tests/support/fault_server.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/support/test_shards.h"
#include "tools/commands/index_build.h"
#include "tools/commands/video_facts.h"

namespace shardreel::tools {
namespace {

namespace fs = std::filesystem;
using shardreel::testing::content_of;
using shardreel::testing::make_test_clip;
using shardreel::testing::read_file;
using shardreel::testing::rounds;
using shardreel::testing::ScratchDir;
using shardreel::testing::tar_end;
using shardreel::testing::tar_member;
using shardreel::testing::test_seed;
using shardreel::testing::write_file;

VerifyOutcome verify(const std::vector<std::string>& urls, VerifyCommand command = {}) {
  const auto list = ShardList::parse(urls);
  EXPECT_TRUE(list);
  auto outcome = verify_shards(command, *list, {});
  EXPECT_TRUE(outcome) << outcome.error().describe();
  return outcome ? std::move(*outcome) : VerifyOutcome{};
}

VerifyCommand deep(std::uint32_t jobs = 2) {
  VerifyCommand command;
  command.deep = true;
  command.jobs = jobs;
  return command;
}

/// "kind key field offset" of everything found.
std::vector<std::string> found(const VerifyOutcome& outcome) {
  std::vector<std::string> lines;
  for (const auto& [kind, count] : outcome.findings.counts()) {
    for (const Finding& one : outcome.findings.of(kind)) {
      lines.push_back(fmt::format("{} {} {} {}", info_of(kind).word, one.key, one.field,
                                  one.offset ? std::to_string(*one.offset) : "-"));
    }
  }
  return lines;
}
using Lines = std::vector<std::string>;

std::string padded_to_record(std::string archive) {
  archive += tar_end();
  archive.resize((archive.size() + 10239) / 10240 * 10240, '\0');
  return archive;
}

/// Two shards of four samples (mp4, json, cls) with a manifest.
class VerifySet : public ::testing::Test {
 protected:
  VerifySet()
      : video_(read_file(
            make_test_clip("-c:v libx264 -g 10 -bf 2 -pix_fmt yuv420p", 40, "mp4", "64x48"))) {
    auto writer = ShardWriter::create({dir_.path().string(), "s-", 4, 0, true});
    for (int i = 0; i < 8; ++i) {
      const std::vector<FieldToWrite> fields{{"mp4", content_of(video_)},
                                             {"json", content_of(fmt::format("{{\"i\": {}}}", i))},
                                             {"cls", content_of(std::to_string(i))}};
      EXPECT_TRUE(writer->write(fmt::format("k{}", i), fields));
    }
    const auto written = writer->finish();
    EXPECT_TRUE(written);
    DatasetManifest manifest;
    manifest.tool = "test";
    manifest.options = "{}";
    for (const WrittenShard& shard : *written) {
      ManifestShard listed;
      listed.name = fs::path(shard.path).filename().string();
      listed.sha256 = *sha256_of(*content_of(read_file(shard.path)));
      listed.counts.samples = shard.samples;
      listed.counts.bytes = shard.bytes;
      listed.counts.payload_bytes = 4 * (video_.size() + 8 + 1);
      manifest.shards.push_back(listed);
    }
    ManifestCounts sum = manifest.shards[0].counts;
    sum += manifest.shards[1].counts;
    manifest.counts = sum;
    write_file(dir_ / "dataset.json", to_json(manifest));
  }

  [[nodiscard]] std::string shard(int number) const {
    return dir_ / fmt::format("s-{:06}.tar", number);
  }
  [[nodiscard]] Lines all(VerifyCommand command = {}) const {
    return found(verify({shard(0), shard(1)}, std::move(command)));
  }
  void flip(int number, std::uint64_t at) const {
    std::string bytes = read_file(shard(number));
    bytes.at(at) = static_cast<char>(bytes[at] ^ 1);
    write_file(shard(number), bytes);
  }
  void without_manifest() const { fs::remove(dir_ / "dataset.json"); }

  ScratchDir dir_;
  std::string video_;
};

TEST_F(VerifySet, AWholeSetIsClean) {
  const auto outcome = verify({shard(0), shard(1)}, deep());
  EXPECT_EQ(found(outcome), Lines{});
  EXPECT_EQ(outcome.shards, 2u);
  EXPECT_EQ(outcome.samples, 8u);
  EXPECT_EQ(outcome.videos, 8u);
  EXPECT_EQ(outcome.frames_decoded, 320u);
  EXPECT_EQ(outcome.manifests, 1u);
  without_manifest();
  EXPECT_EQ(all(deep()), Lines{});
}

TEST_F(VerifySet, AFlippedByteOfContentIsFoundByTheManifest) {
  flip(1, 512);  // the class of k4: still a number
  EXPECT_EQ(all(), Lines{"checksum   -"});
  EXPECT_EQ(verify({shard(0), shard(1)}).findings.of(FindingKind::kChecksum)[0].shard, shard(1));
  without_manifest();
  EXPECT_EQ(all(), Lines{});
}

// Every cut of a whole archive is found, but for those that leave the two zero blocks of its end.
TEST_F(VerifySet, EveryCutOfTheEndIsFound) {
  without_manifest();
  const std::string bytes = read_file(shard(0));
  const std::size_t last = bytes.find_last_not_of('\0');
  const std::size_t members = (last + 512) / 512 * 512;
  for (std::size_t size = members; size <= members + 3 * 512 && size <= bytes.size(); size += 128) {
    write_file(shard(0), bytes.substr(0, size));
    const bool whole = size >= members + 1024 && size % 512 == 0;
    const Lines lines = found(verify({shard(0)}));
    EXPECT_EQ(lines.size(), whole ? 0u : 1u) << size - members;
    if (!whole && !lines.empty()) {
      EXPECT_TRUE(lines[0].starts_with("archive_cut")) << lines[0];
    }
  }
}

TEST_F(VerifySet, ADamagedHeaderIsFound) {
  // Members are cls, json, mp4: the header of k4's json is the third block.
  flip(1, 1024 + 3);
  without_manifest();
  EXPECT_EQ(all(), Lines{"archive_damaged k4  1024"});
}

TEST_F(VerifySet, WhatTheManifestSaysIsCompared) {
  std::string bytes = read_file(shard(1));
  write_file(shard(1), bytes + std::string(10240, '\0'));
  EXPECT_EQ(all(), Lines{"checksum   -"});
  write_file(shard(1), read_file(shard(0)));
  EXPECT_EQ(all(),
            (Lines{"checksum   -", "duplicate_key k0  0",
                   "duplicate_key k1  " + std::to_string(read_file(shard(0)).find("k1.cls")),
                   "duplicate_key k2  " + std::to_string(read_file(shard(0)).find("k2.cls")),
                   "duplicate_key k3  " + std::to_string(read_file(shard(0)).find("k3.cls"))}));
  fs::remove(shard(1));
  EXPECT_EQ(found(verify({shard(0)})), Lines{"missing_shard   -"});
  write_file(dir_ / "other.tar", padded_to_record(tar_member("x.txt", "1")));
  EXPECT_EQ(found(verify({dir_ / "other.tar"})), Lines{"unlisted_shard   -"});
  write_file(dir_ / "dataset.json", "{");
  EXPECT_EQ(found(verify({shard(0)})), Lines{"manifest   -"});
}

TEST_F(VerifySet, DamagedVideosAreFoundWithTheirFrame) {
  without_manifest();
  std::string bytes = read_file(shard(0));
  const std::size_t header = bytes.find("k2.mp4");
  const std::size_t moov = bytes.find("moov", header), mdat = bytes.find("mdat", header);
  ASSERT_LT(mdat, moov);  // the frames come first in this file
  for (std::size_t i = 0; i < 40; ++i) bytes[(mdat + moov) / 2 + i] = '\x55';
  write_file(shard(0), bytes);
  EXPECT_EQ(all(), Lines{});
  for (const std::uint32_t jobs : {1U, 2U, 4U}) {
    EXPECT_EQ(all(deep(jobs)), Lines{fmt::format("frames_damaged k2 mp4 {}", header)});
  }
  const auto outcome = verify({shard(0)}, deep());
  EXPECT_NE(outcome.findings.of(FindingKind::kFramesDamaged)[0].message.find("of 40 frames"),
            std::string::npos);
}

TEST_F(VerifySet, AStaleOrDamagedIndexIsFound) {
  without_manifest();
  IndexBuildOptions options;
  options.video_fields = default_video_fields();
  ASSERT_EQ(index_shard(shard(0), options, {}).state, IndexState::kWritten);
  EXPECT_EQ(found(verify({shard(0)})), Lines{});
  EXPECT_EQ(verify({shard(0)}).indexes, 1u);
  const std::string index = *shard_index_path(shard(0));
  const std::string bytes = read_file(index);
  write_file(index, bytes.substr(0, bytes.size() / 2));
  EXPECT_EQ(found(verify({shard(0)})), Lines{"index   -"});
  write_file(index, bytes);
  write_file(shard(0), read_file(shard(1)));
  EXPECT_EQ(found(verify({shard(0)})), Lines{"index   -"});
}

TEST_F(VerifySet, TheIndexBesideARemoteShardIsLookedForToo) {
  IndexBuildOptions options;
  options.video_fields = default_video_fields();
  ASSERT_EQ(index_shard(shard(0), options, {}).state, IndexState::kWritten);
  std::string index = read_file(*shard_index_path(shard(0)));
  const std::string archive = read_file(shard(0));
  std::mutex mutex;
  shardreel::testing::FaultServer server([&](const shardreel::testing::SeenRequest& request) {
    const std::lock_guard lock(mutex);
    if (request.target == "/a.tar")
      return shardreel::testing::range_reply(request, archive, "\"shard\"");
    if (request.target == "/a.tar.sridx" && !index.empty())
      return shardreel::testing::range_reply(request, index, "\"index\"");
    return shardreel::testing::FaultReply{.status = 404, .body = "none"};
  });
  const auto becomes = [&](std::string bytes) {
    const std::lock_guard lock(mutex);
    index.swap(bytes);
    return bytes;  // what it was
  };
  const std::string url = server.url("/a.tar");
  EXPECT_EQ(found(verify({url})), Lines{});
  EXPECT_EQ(verify({url}).indexes, 1u);
  const SidecarIndex sidecar = open_sidecar(url, "", {});
  ASSERT_TRUE(sidecar.index);
  EXPECT_EQ(sidecar.path, server.url("/a.tar.sridx"));
  const std::string good = becomes("no index at all");
  EXPECT_EQ(found(verify({url})), Lines{"index   -"});
  ASSERT_EQ(index_shard(shard(1), options, {}).state, IndexState::kWritten);
  becomes(read_file(*shard_index_path(shard(1))));  // of another shard
  EXPECT_EQ(found(verify({url})), Lines{"index   -"});
  becomes("");
  EXPECT_EQ(found(verify({url})), Lines{});
  EXPECT_EQ(verify({url}).indexes, 0u);
}

// A byte that only the checksum knows of may be anybody's.
TEST_F(VerifySet, RepairDoesNotPassOnWhatOnlyTheChecksumDoubts) {
  flip(0, read_file(shard(0)).find("\"i\": 2") + 5);  // still JSON
  VerifyCommand command;
  command.repair = dir_ / "good";
  const auto outcome = verify({shard(0), shard(1)}, command);
  EXPECT_EQ(found(outcome), Lines{"checksum   -"});
  ASSERT_TRUE(outcome.repair);
  EXPECT_EQ(outcome.repair->samples, 4u);
  ASSERT_EQ(outcome.repair->left_out.size(), 4u);
  EXPECT_NE(outcome.repair->left_out[0].reason.find("cannot be told"), std::string::npos);
  EXPECT_FALSE(fs::exists(dir_ / "good/s-000000.tar"));
}

TEST_F(VerifySet, RepairKeepsWhatIsGood) {
  const std::string bytes = read_file(shard(1));
  const std::size_t last = bytes.find("k7.json");
  write_file(shard(1), bytes.substr(0, last + 700));
  flip(0, bytes.find("k1.cls") + 3);  // not used for shard 1; a header of shard 0
  flip(0, bytes.find("k1.cls") + 3);
  std::string first = read_file(shard(0));
  const std::size_t json = first.find("{\"i\": 2}");
  first[json] = '[';
  write_file(shard(0), first);
  VerifyCommand command = deep();
  command.repair = dir_ / "good";
  const auto outcome = verify({shard(0), shard(1)}, command);
  ASSERT_TRUE(outcome.repair);
  EXPECT_EQ(outcome.repair->samples, 6u);
  EXPECT_EQ(outcome.repair->shards, 2u);
  ASSERT_EQ(outcome.repair->left_out.size(), 2u);
  EXPECT_EQ(outcome.repair->left_out[0].key, "k2");
  EXPECT_EQ(outcome.repair->left_out[1].key, "k7");
  EXPECT_EQ(read_file(shard(0)), first);
  const Lines names{dir_ / "good/s-000000.tar", dir_ / "good/s-000001.tar"};
  const auto again = verify(names, deep());
  EXPECT_EQ(found(again), Lines{});
  EXPECT_EQ(again.samples, 6u);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_ / "good"), {}), 2);
  // Members keep their bytes.
  const auto content = shardreel::testing::read_path(names[1]);
  ASSERT_EQ(content.samples.size(), 3u);
  for (const auto& sample : content.samples) EXPECT_EQ(sample.fields.back().second, video_);
  // Nothing is written over.
  const auto list = ShardList::parse({shard(0)});
  EXPECT_FALSE(verify_shards(command, *list, {}));
  command.repair = dir_.path().string();
  EXPECT_FALSE(verify_shards(command, *list, {}));
}

TEST(Verify, FindsWhatIsWrongWithSamples) {
  const ScratchDir dir;
  std::string archive;
  const auto add = [&](const std::string& name, const std::string& content) {
    const std::size_t at = archive.size();
    archive += tar_member(name, content);
    return at;
  };
  std::string json = "{\"a\": [1, 2]}", png = std::string("\x89PNG\r\n\x1a\n") + "...";
  for (const char* key : {"a", "b", "c", "d"}) {
    add(std::string(key) + ".json", json);
    add(std::string(key) + ".png", png);
  }
  add("e.json", json);
  const auto no_png = archive.size() - 1024;
  const auto text_png = add("f.png", "text");
  const auto bad_json = add("f.json", "{1}");
  const auto jpg = add("g.png", "\xff\xd8\xff\xe0....");
  const auto empty = add("g.json", "");
  const auto twice = add("a.json", json);
  add("a.png", png);
  add("h.json", json);
  const auto doubled = add("h.json", json);
  add("h.png", png);
  const auto zip = add("i.json.gz", "plain");
  const std::string path = dir / "x.tar";
  write_file(path, padded_to_record(archive));
  const auto outcome = verify({path});
  const auto lines = found(outcome);
  for (const std::string& expected :
       {fmt::format("missing_field e png {}", no_png),
        fmt::format("wrong_extension f png {}", text_png), fmt::format("json f json {}", bad_json),
        fmt::format("wrong_extension g png {}", jpg), fmt::format("empty_member g json {}", empty),
        fmt::format("duplicate_key a  {}", twice), fmt::format("sample_failed h  {}", doubled),
        fmt::format("wrong_extension i json.gz {}", zip)})
    EXPECT_NE(std::find(lines.begin(), lines.end(), expected), lines.end()) << expected;
  EXPECT_EQ(outcome.findings.count(Severity::kError), 3u);
  const std::string text = verify_text(outcome), object = verify_json(outcome);
  EXPECT_NE(text.find("key f, field png, at byte " + std::to_string(text_png)), std::string::npos);
  EXPECT_NE(object.find("\"kind\":\"duplicate_key\""), std::string::npos);

  VerifyCommand command;
  command.repair = dir / "good";
  const auto repaired = verify({path}, command);
  ASSERT_TRUE(repaired.repair);
  EXPECT_EQ(repaired.repair->samples, 4u);
  EXPECT_EQ(found(verify({dir / "good/x.tar"})), Lines{});
}

TEST(Verify, VideosThatEndTooEarlyAreFound) {
  const ScratchDir dir;
  std::string archive;
  Lines expected;
  for (const auto& [codec, extension] : std::vector<std::pair<std::string, std::string>>{
           {"-c:v libx264 -g 10 -movflags +faststart", "mp4"},
           {"-c:v libx264 -g 10", "mkv"},
           {"-c:v mpeg4 -g 10", "avi"}}) {
    const std::string video = read_file(make_test_clip(codec, 20, extension));
    archive += tar_member("good_" + extension + "." + extension, video);
    expected.push_back(fmt::format("video_cut bad_{} {} {}", extension, extension, archive.size()));
    archive +=
        tar_member("bad_" + extension + "." + extension, video.substr(0, video.size() * 2 / 3));
  }
  const std::string path = dir / "x.tar";
  write_file(path, padded_to_record(archive));
  EXPECT_EQ(found(verify({path})), expected);
  EXPECT_EQ(found(verify({path}, deep())), expected);
}

TEST(Verify, CompressedArchivesAreCheckedToTheirEnd) {
  const ScratchDir dir;
  const std::string archive = padded_to_record(tar_member("a.txt", std::string(5000, 'a')));
  const std::string path = dir / "x.tar.gz";
  gzFile out = gzopen(path.c_str(), "wb");
  ASSERT_GT(gzwrite(out, archive.data(), static_cast<unsigned>(archive.size())), 0);
  gzclose(out);
  EXPECT_EQ(found(verify({path})), Lines{});
  const std::string bytes = read_file(path);
  for (std::size_t back = 1; back <= 8; ++back) {  // checksum and length
    std::string damaged = bytes;
    damaged[bytes.size() - back] ^= 1;
    write_file(path, damaged);
    EXPECT_FALSE(found(verify({path})).empty()) << back;
  }
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    write_file(path, bytes.substr(0, cut));
    EXPECT_FALSE(found(verify({path})).empty()) << cut;
  }
}

TEST(Verify, EveryTruncationIsReported) {
  const ScratchDir dir;
  std::string archive;
  for (const char* key : {"a", "b", "c"}) {
    archive += tar_member(std::string(key) + ".txt", std::string(700, 't'));
    archive += tar_member(std::string(key) + ".json", "{}");
  }
  const std::size_t marked = archive.size() + tar_end().size();
  archive = padded_to_record(archive);
  const std::string path = dir / "x.tar";
  write_file(path, archive);
  EXPECT_EQ(found(verify({path})), Lines{});
  const std::size_t step = rounds(20) == 20 ? 1 : 3;
  for (std::size_t cut = 0; cut < archive.size(); cut += step) {
    write_file(path, archive.substr(0, cut));
    // Whole blocks behind the end mark are what some writers leave out: no cut.
    const bool whole = cut >= marked && cut % 512 == 0;
    EXPECT_EQ(found(verify({path})).empty(), whole) << "cut at " << cut;
  }

  // A larger one, through a pipe as well.
  std::string larger;
  for (int i = 0; i < 40; ++i)
    larger +=
        tar_member(fmt::format("{:03}.bin", i), std::string(static_cast<std::size_t>(i) * 97, 'x'));
  const std::size_t end = larger.size() + tar_end().size();
  larger = padded_to_record(larger);
  for (std::size_t cut = 0; cut < end; cut += 512) {
    write_file(path, larger.substr(0, cut));
    EXPECT_FALSE(found(verify({path})).empty()) << "cut at " << cut;
    if (cut % 5120 == 0) {
      EXPECT_FALSE(found(verify({"pipe:cat " + path})).empty()) << "pipe cut at " << cut;
    }
  }
}

TEST(Verify, HugeClaimsTakeNoMemory) {
  const ScratchDir dir;
  const std::string path = dir / "x.tar";
  write_file(path, shardreel::testing::tar_header("a.mp4", std::uint64_t{8} << 30) + "x");
  EXPECT_EQ(found(verify({path})), Lines{"archive_cut a  0"});
  EXPECT_EQ(found(verify({"pipe:cat " + path})), Lines{"archive_cut a  0"});
}

/// Real and mutated archives: whatever they hold, there is a report.
TEST(Verify, HostileArchivesEndInAReport) {
  const std::string media = shardreel::testing::shared_media_dir();
  if (media.empty()) GTEST_SKIP() << "no shared media";
  const ScratchDir dir;
  std::mt19937_64 random(test_seed());
  const auto below = [&](std::size_t end) {
    return static_cast<std::size_t>(std::uniform_int_distribution<std::size_t>(0, end - 1)(random));
  };
  std::vector<std::string> archives;
  for (const auto& entry : fs::directory_iterator(media + "/tars")) {
    if (entry.path().extension() == ".csv") continue;
    verify({entry.path().string()});
    if (entry.file_size() < 2'000'000) archives.push_back(read_file(entry.path().string()));
  }
  ASSERT_GT(archives.size(), 10u);
  const std::string path = dir / "x.tar";
  std::uint64_t cuts = 0;
  for (std::uint64_t round = 0; round < rounds(3000); ++round) {
    std::string bytes = archives[below(archives.size())];
    const bool only_cut = round % 4 == 0;
    if (only_cut) {
      bytes.resize(below(std::max<std::size_t>(bytes.size(), 2)));
    } else {
      for (std::size_t i = below(4) + 1; i > 0; --i)
        bytes[below(bytes.size())] ^= static_cast<char>(1 << below(8));
    }
    write_file(path, bytes);
    const auto outcome = verify({path}, round % 2 == 0 ? deep() : VerifyCommand{});
    EXPECT_EQ(outcome.shards, 1u);
    if (only_cut) {
      ++cuts;
      EXPECT_FALSE(found(outcome).empty()) << "a cut to " << bytes.size() << " bytes is silent";
    }
  }
  EXPECT_GT(cuts, 0u);
}

TEST(Verify, ManyFindingsAreCountedAndTheFirstKept) {
  Findings findings;
  for (std::uint64_t i = 0; i < 2500; ++i)
    findings.add({FindingKind::kJson, "s", fmt::format("k{}", i), "json", i, "bad", 0, i});
  EXPECT_EQ(findings.counts().at(FindingKind::kJson), 2500u);
  EXPECT_EQ(findings.of(FindingKind::kJson).size(), Findings::kMostOfAKind);
  EXPECT_EQ(findings.left_out(), 1500u);
  EXPECT_EQ(findings.of(FindingKind::kJson)[7].key, "k7");
  for (int kind = 0; kind <= static_cast<int>(FindingKind::kIndex); ++kind)
    EXPECT_EQ(info_of(static_cast<FindingKind>(kind)).kind, static_cast<FindingKind>(kind));
}

}  // namespace
}  // namespace shardreel::tools
