#include "tools/commands/verify_sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "loader/decode/video_check.h"
#include "loader/demux/video_file.h"
#include "loader/read/video_names.h"
#include "tools/commands/content_kind.h"
#include "tools/commands/video_facts.h"
#include "tools/pack/json_check.h"
#include "tools/pack/truncation.h"

namespace shardreel::tools {
namespace {

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
    if (is_json_field(field.name)) check_json(field);
  }

  void check_json(const Field& field) {
    const auto problem = find_json_problem(*field.content);
    if (!problem) return add(FindingKind::kSampleFailed, field, problem.error().message);
    if (*problem) add(FindingKind::kJson, field, **problem);
  }

  /// A sample without a field of the list: whether one of the others holds a video. The name alone
  /// says so, or the content does and opens as one.
  void check_unlisted(const Field& field) {
    if (!names_a_video(field.name)) {
      std::array<std::byte, kHeadBytes> head{};
      const auto got = field.content->read_at(0, head);
      if (!got || !may_be_video(sniff_content(std::span(head).first(*got)))) return;
      if (!VideoFile::open(field.content, {.field = field.name})) return;
    }
    add(FindingKind::kUnlistedVideo, field, how_to_take(sample_.key, field.name));
    checks_.findings.back().ordinal.reset();  // nothing is wrong with the sample
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

Result<SampleChecks> check_sample(const WalkedSample& walked,
                                  const std::vector<std::string>& videos, bool deep,
                                  VideoDecoder& decoder, const std::stop_token& stop) {
  SampleChecks checks;
  Checker checker(walked, checks);
  const Field* const video = video_of(walked.sample, videos);
  for (const Field& field : walked.sample.fields) {
    const bool is_video =
        &field == video ||
        (std::ranges::find(videos, field.name) != videos.end() && !names_a_picture(field.name));
    checker.check_field(field, is_video);
    if (video == nullptr && field.size > 0) checker.check_unlisted(field);
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
