#include "tools/commands/verify_sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "loader/decode/video_check.h"
#include "loader/demux/video_file.h"
#include "tools/commands/content_kind.h"
#include "tools/commands/video_facts.h"
#include "tools/pack/truncation.h"

namespace shardreel::tools {
namespace {

constexpr std::uint64_t kMostJsonBytes = std::uint64_t{16} << 20;
constexpr std::size_t kHeadBytes = 512;

class Checker {
 public:
  Checker(const WalkedSample& walked, SampleChecks& checks)
      : sample_(walked.sample), number_(walked.shard_number), checks_(checks) {}

  void add(FindingKind kind, const Field& field, std::string message) {
    checks_.findings.push_back(Finding{kind, sample_.shard, sample_.key, field.name, field.offset,
                                       std::move(message), number_, sample_.ordinal});
  }

  void check_field(const Field& field, bool is_video) {
    if (field.size == 0) {
      const auto kind = is_video ? FindingKind::kVideoUnreadable : FindingKind::kEmptyMember;
      return add(kind, field, "0 bytes");
    }
    std::array<std::byte, kHeadBytes> head{};
    const auto got = field.content->read_at(0, head);
    if (!got) return add(FindingKind::kSampleFailed, field, got.error().message);
    if (const auto wrong = wrong_kind(field.name, std::span(head).first(*got)))
      add(FindingKind::kWrongExtension, field, *wrong);
    if (field.name == "json" || field.name.ends_with(".json")) check_json(field);
  }

  void check_json(const Field& field) {
    if (field.size > kMostJsonBytes)
      return add(FindingKind::kJson, field,
                 fmt::format("{} bytes; at most {} are looked at", field.size, kMostJsonBytes));
    const auto text = field.text();
    if (!text) return add(FindingKind::kSampleFailed, field, text.error().message);
    try {
      // Only parsed: nothing is built, and nesting takes a bit a level.
      nlohmann::json::parser_callback_t discard = [](int, nlohmann::json::parse_event_t,
                                                     nlohmann::json&) { return false; };
      [[maybe_unused]] const auto nothing = nlohmann::json::parse(*text, discard);
    } catch (const nlohmann::json::exception& problem) {
      // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
      std::string words = problem.what();
      if (const auto end = words.find("] "); end != std::string::npos) words.erase(0, end + 2);
      add(FindingKind::kJson, field, words);
    }
  }

  /// What the feed would make of it, or would leave out.
  void check_facts(const Field& field, const VideoFacts& facts) {
    if (facts.times_unused) {
      add(FindingKind::kTimesUnused, field,
          fmt::format("{} frames, whose order is that of the decoder", facts.frame_count));
    }
    if (const auto frame = find_long_frame(facts.times())) {
      add(FindingKind::kLongFrame, field,
          fmt::format("{}, expected {} s at most", describe(*frame), kMostSecondsShown));
    }
    if (facts.video_streams > 1) {
      add(FindingKind::kVideoStreams, field,
          fmt::format("{} video streams; stream {} is taken", facts.video_streams,
                      facts.stream_number));
    }
  }

  void check_deep(const Field& field, const Result<VideoCheck>& check) {
    if (!check) return add(FindingKind::kVideoUnreadable, field, words_of(check.error()));
    checks_.frames_decoded += static_cast<std::uint64_t>(
        check->frames - std::max<std::int64_t>(check->frames_missing, 0));
    if (check->clean()) return;
    std::string message = fmt::format("of {} frames {} do not come out and {} are damaged",
                                      check->frames, check->frames_missing, check->frames_corrupt);
    if (check->first_bad_frame >= 0)
      message += fmt::format(", the first is frame {} at {:.3f} s", check->first_bad_frame,
                             check->first_bad_seconds);
    if (check->first_error) message += "; the decoder says: " + check->first_error->message;
    add(FindingKind::kFramesDamaged, field, std::move(message));
  }

  static std::string words_of(const Error& error) {
    return fmt::format("{} ({})", error.message, to_string(error.code));
  }

 private:
  const Sample& sample_;
  const std::uint64_t number_;
  SampleChecks& checks_;
};

}  // namespace

Result<SampleChecks> check_sample(const WalkedSample& walked, bool deep, VideoDecoder& decoder,
                                  const std::stop_token& stop) {
  SampleChecks checks;
  Checker checker(walked, checks);
  const auto& videos = default_video_fields();
  for (const Field& field : walked.sample.fields) {
    const bool is_video = std::find(videos.begin(), videos.end(), field.name) != videos.end();
    checker.check_field(field, is_video);
    if (!is_video || field.size == 0) continue;
    ++checks.videos;
    const auto missing = find_truncation(*field.content);
    if (missing && *missing) {
      // Demuxers show what is there and say nothing; the reason is worth more than what follows.
      checker.add(FindingKind::kVideoCut, field, **missing);
      continue;
    }
    VideoFileOptions options;
    options.field = field.name;
    auto opened = VideoFile::open(field.content, options);
    if (opened) {
      checker.check_facts(field, opened->facts());
      if (deep) checker.check_deep(field, check_video(*opened, decoder, stop));
    } else {
      checker.add(FindingKind::kVideoUnreadable, field, Checker::words_of(opened.error()));
    }
    if (stop.stop_requested())
      return Error{ErrorCode::kStopped, "stopped while verifying", {}, {}, {}};
  }
  return checks;
}

}  // namespace shardreel::tools
