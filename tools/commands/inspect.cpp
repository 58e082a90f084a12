#include "tools/commands/inspect.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>
#include <utility>

#include "loader/media/picture_file.h"
#include "shards/sha256.h"
#include "tools/commands/feed.h"
#include "tools/commands/inspect_report.h"
#include "tools/commands/sample_pictures.h"
#include "tools/commands/shard_walk.h"
#include "tools/commands/signal_watch.h"
#include "tools/commands/text_json.h"
#include "tools/commands/video_facts.h"

namespace shardreel::tools {
namespace {

constexpr std::uint64_t kMostSheetRows = 200;

void complain(std::string_view message) {
  fmt::print(stderr, "shardreel inspect: {}\n", for_terminal(message));
}

Error io_error(const std::string& doing) {
  return {ErrorCode::kIo, fmt::format("{}: {}", doing, std::strerror(errno)), {}, {}, {}};
}

SampleAspect aspect_of(const InspectCommand& command) {
  return command.sample_aspect == "apply" ? SampleAspect::kApply : SampleAspect::kIgnore;
}

struct CloseFile {
  void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};

Result<void> write_file(const std::string& path, std::string_view bytes) {
  if (path == "-") {
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size()) return {};
    return io_error("writing to standard output");
  }
  std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "wbe"));
  if (file == nullptr) return io_error(fmt::format("opening '{}' to write", path));
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size();
  if (std::fclose(file.release()) != 0 || !written)
    return io_error(fmt::format("writing '{}'", path));
  return {};
}

/// Prints every sample.
class Lister : public WalkVisitor {
 public:
  Lister(const InspectCommand& command, std::stop_token stop)
      : command_(command), stop_(std::move(stop)) {}

  Result<bool> sample(WalkedSample walked) override {
    if (!command_.sample.empty() && walked.sample.key != command_.sample) return true;
    InspectedSample inspected;
    inspected.walked = &walked;
    if (command_.hash) {
      for (const Field& field : walked.sample.fields) {
        auto digest = sha256_of(*field.content);
        if (!digest)
          return std::move(digest.error().at(walked.sample.shard, walked.sample.key, field.offset));
        inspected.sha256.push_back(std::move(*digest));
      }
    }
    const Field* video = command_.video ? video_of(walked.sample, default_video_fields()) : nullptr;
    if (video != nullptr) {
      inspected.video = facts_of(walked.sample, *video, sidecar(walked.sample.shard));
      if (!*inspected.video) {
        if (stop_.stop_requested()) return inspected.video->error();
        failed_ = true;
      }
    }
    if (command_.json)
      fmt::print("{}", sample_line(inspected));
    else
      table_.add(inspected);
    return go_on();
  }

  Result<bool> failure(std::uint64_t /*shard*/, const FailedSample& failure) override {
    failed_ = true;
    complain(failure.error.describe());
    if (!command_.sample.empty()) return true;
    if (command_.json)
      fmt::print("{}", failure_line(failure));
    else
      table_.add_failure(failure);
    return go_on();
  }

  Result<bool> shard_end(const WalkedShard& shard) override {
    if (shard.empty) complain(fmt::format("shard {}: {}", shard.url, *shard.empty));
    table_.add_shard();
    return true;
  }

  void finish() const {
    if (!command_.json) table_.print_totals();
  }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] std::uint64_t given() const { return given_; }

 private:
  Result<bool> go_on() {
    ++given_;
    if (std::ferror(stdout) != 0) return io_error("writing to standard output");
    return command_.limit == 0 || given_ < command_.limit;
  }

  const SidecarIndex* sidecar(const std::string& shard) {
    if (shard != sidecar_shard_) {
      sidecar_shard_ = shard;
      sidecar_ = open_sidecar(shard, command_.index_dir, stop_);
      if (sidecar_.problem) complain("the index is not used: " + sidecar_.problem->describe());
    }
    return &sidecar_;
  }

  const InspectCommand& command_;
  std::stop_token stop_;
  InspectTable table_;
  std::string sidecar_shard_;
  SidecarIndex sidecar_;
  std::uint64_t given_ = 0;
  bool failed_ = false;
};

/// Does something with the first sample of a key.
class Finder : public WalkVisitor {
 public:
  using Action = std::function<Result<void>(const Sample&)>;
  Finder(std::string key, Action action) : key_(std::move(key)), action_(std::move(action)) {}

  Result<bool> sample(WalkedSample walked) override {
    if (walked.sample.key != key_) return true;
    found_ = true;
    auto done = action_(walked.sample);
    if (!done) return std::move(done.error().at(walked.sample.shard, key_));
    return false;
  }
  Result<bool> failure(std::uint64_t /*shard*/, const FailedSample& failure) override {
    complain(failure.error.describe());
    return true;
  }
  [[nodiscard]] bool found() const { return found_; }

 private:
  std::string key_;
  Action action_;
  bool found_ = false;
};

Result<const Field*> need_field(const Sample& sample, const std::string& name) {
  if (const Field* field = sample.find(name)) return field;
  std::string there;
  for (const Field& field : sample.fields) there += (there.empty() ? "" : ", ") + field.name;
  return Error{ErrorCode::kNotFound, fmt::format("no field '{}'; there are: {}", name, there),
               sample.shard, sample.key, sample.offset};
}

Result<void> extract(const Sample& sample, const std::string& name) {
  const auto field = need_field(sample, name);
  if (!field) return field.error();
  std::vector<std::byte> block(std::size_t{1} << 20);
  for (std::uint64_t at = 0; at < (*field)->size;) {
    auto got = (*field)->content->read_at(at, block);
    if (!got) return std::move(got.error());
    if (*got == 0)
      return Error{ErrorCode::kTruncated, fmt::format("field {} ends at byte {}", name, at),
                   sample.shard, sample.key, (*field)->offset};
    if (std::fwrite(block.data(), 1, *got, stdout) != *got)
      return io_error("writing to standard output");
    at += *got;
  }
  return {};
}

Result<void> write_frame(const Sample& sample, const InspectCommand& command,
                         const FrameChoice& choice, const std::stop_token& stop) {
  const Field* video = video_of(sample, default_video_fields());
  if (video == nullptr)
    return Error{ErrorCode::kNoVideo, "no field that holds a video", sample.shard, sample.key,
                 sample.offset};
  const auto picture = show_frame(sample, *video, choice, aspect_of(command), stop);
  if (!picture) return picture.error();
  const auto png = encode_png(picture->rgb, picture->width, picture->height);
  if (!png) return png.error();
  if (auto written = write_file(command.png, *png); !written) return written;
  fmt::print(stderr, "{}: frame {} at {:.3f} s, {}x{}{}\n", for_terminal(sample.key),
             picture->frame, picture->seconds, picture->width, picture->height,
             picture->corrupt ? "; the decoder calls it CORRUPT" : "");
  return {};
}

/// Draws a row a sample, and says which row is which.
class SheetMaker : public WalkVisitor {
 public:
  SheetMaker(const InspectCommand& command, std::stop_token stop)
      : most_(command.limit == 0 ? kMostSheetRows : command.limit),
        sheet_(command.thumbnails, aspect_of(command)),
        stop_(std::move(stop)) {}

  Result<bool> sample(WalkedSample walked) override {
    if (sheet_.rows() == most_) {
      fmt::print(stderr, "shardreel inspect: the sheet ends after {} rows; --limit sets how many\n",
                 most_);
      return false;
    }
    const Field* video = video_of(walked.sample, default_video_fields());
    auto drawn = sheet_.add(walked.sample, video, stop_);
    if (stop_.stop_requested() && !drawn) return std::move(drawn.error());
    fmt::print("{:>4}  {}  {}\n", sheet_.rows(), for_terminal(walked.sample.key),
               for_terminal(walked.sample.shard));
    if (!drawn) {
      failed_ = true;
      complain(drawn.error().describe());
    }
    return true;
  }
  Result<bool> failure(std::uint64_t /*shard*/, const FailedSample& failure) override {
    failed_ = true;
    complain(failure.error.describe());
    return true;
  }
  [[nodiscard]] const ContactSheet& sheet() const { return sheet_; }
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  const std::uint64_t most_;
  ContactSheet sheet_;
  std::stop_token stop_;
  bool failed_ = false;
};

int usage(const InspectCommand& command, const std::string& message) {
  if (command.json) print_error_json({ErrorCode::kInvalidOption, message, {}, {}, {}});
  complain(message);
  return kExitUsage;
}

int inspect(const InspectCommand& command, const ShardList& shards,
            const std::optional<FrameChoice>& choice, const std::stop_token& stop) {
  WalkOptions options;
  if (command.integrity == "compat") {
    options.integrity = Integrity::kCompat;
    options.merge_cut_samples = true;
  }
  const auto end = [](const Result<bool>& walked, bool good) -> int {
    if (!walked) complain(walked.error().describe());
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      complain("writing to standard output failed");
      return kExitFailed;
    }
    return walked && good ? kExitGood : kExitFailed;
  };
  if (!command.extract.empty() || choice) {
    const std::string& key = choice ? command.frames : command.sample;
    Finder finder(key, [&](const Sample& sample) {
      return choice ? write_frame(sample, command, *choice, stop)
                    : extract(sample, command.extract);
    });
    const auto walked = walk_shards(shards, options, finder, stop);
    if (walked && !finder.found()) complain(fmt::format("no sample has the key '{}'", key));
    return end(walked, finder.found());
  }
  if (!command.contact_sheet.empty()) {
    SheetMaker maker(command, stop);
    const auto walked = walk_shards(shards, options, maker, stop);
    if (!walked) return end(walked, false);
    if (maker.sheet().rows() == 0) {
      complain("there is no sample to draw");
      return kExitFailed;
    }
    const ContactSheet& sheet = maker.sheet();
    const auto png = encode_png(sheet.rgb(), sheet.width(), sheet.height());
    if (!png) return end(png.error(), false);
    if (auto written = write_file(command.contact_sheet, *png); !written)
      return end(written.error(), false);
    return end(walked, !maker.failed());
  }
  Lister lister(command, stop);
  const auto walked = walk_shards(shards, options, lister, stop);
  lister.finish();
  const bool missing = !command.sample.empty() && lister.given() == 0;
  if (walked && missing) complain(fmt::format("no sample has the key '{}'", command.sample));
  return end(walked, !lister.failed() && !missing);
}

}  // namespace

void add_inspect_flags(CLI::App& app, InspectCommand& command) {
  app.add_option("shards", command.shards, "URLs and patterns of shards")->required();
  app.add_flag("--json", command.json, "Print one JSON object a sample, one a line");
  app.add_flag("--hash", command.hash, "Add the SHA-256 of every field");
  app.add_flag("!--no-video", command.video, "Do not open the videos: names and sizes only");
  app.add_option("--limit", command.limit, "Look at so many samples at most")
      ->check(CLI::PositiveNumber);
  app.add_option("--integrity", command.integrity,
                 "strict reports every loss; compat reads as Python webdataset does")
      ->check(CLI::IsMember({"strict", "compat"}))
      ->capture_default_str();
  app.add_option("--index-dir", command.index_dir, "Folder of the shards' indexes")
      ->type_name("DIR");
  app.add_option("--sample", command.sample, "Look at the sample with this key only")
      ->type_name("KEY");
  auto* extract = app.add_option("--extract", command.extract,
                                 "Write this field of --sample to standard output")
                      ->type_name("FIELD");
  auto* frames =
      app.add_option("--frames", command.frames, "Write a frame of this sample's video to --png")
          ->type_name("KEY");
  app.add_option("--at", command.at, "Which frame: a number from 0, or seconds (1.5s)")
      ->needs(frames)
      ->capture_default_str();
  auto* png = app.add_option("--png", command.png, "File of the picture; - is standard output")
                  ->needs(frames)
                  ->type_name("FILE");
  frames->needs(png);
  app.add_option("--contact-sheet", command.contact_sheet,
                 "Write a PNG of thumbnails: a row a sample, in the order printed")
      ->type_name("FILE")
      ->excludes(frames)
      ->excludes(extract);
  app.add_option("--thumbnails", command.thumbnails, "Thumbnails in a row of the sheet")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--sample-aspect", command.sample_aspect,
                 "Pictures show pixels as square, or apply the sample aspect ratio")
      ->check(CLI::IsMember({"ignore", "apply"}))
      ->capture_default_str();
  extract->excludes(frames);
}

int run_inspect(const InspectCommand& command) {
  if (!command.extract.empty() && command.sample.empty())
    return usage(command, "--extract needs --sample KEY");
  std::optional<FrameChoice> choice;
  if (!command.frames.empty()) {
    auto parsed = parse_frame_choice(command.at);
    if (!parsed) return usage(command, parsed.error().message);
    choice = *parsed;
  }
  const auto shards = ShardList::parse(command.shards);
  if (!shards) {
    if (command.json) print_error_json(shards.error());
    complain(shards.error().describe());
    return shards.error().code == ErrorCode::kInvalidOption ? kExitUsage : kExitFailed;
  }
  std::stop_source stop;
  SignalWatch signals;
  signals.on_signal([&stop] { stop.request_stop(); });
  const int status = inspect(command, *shards, choice, stop.get_token());
  signals.on_signal({});
  return signals.received() != 0 ? 128 + signals.received() : status;
}

}  // namespace shardreel::tools
