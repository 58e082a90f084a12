#include "tools/commands/index_build.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <utility>

#include "loader/demux/describe_video.h"
#include "loader/read/http/http_url.h"
#include "loader/read/http/remote_shape.h"
#include "shardreel/shard_reader.h"
#include "shardreel/shard_url.h"
#include "shards/decompress.h"

namespace shardreel::tools {
namespace {

Error stopped() { return Error{ErrorCode::kStopped, "asked to stop", {}, {}, {}}; }

struct OpenShard {
  std::unique_ptr<ByteStream> stream;
  std::shared_ptr<const RandomAccess> file;
  bool compressed = false;
};

/// `remote` opens what is not a file; null where only files will do.
Result<std::unique_ptr<ByteStream>> open_stream(const std::string& shard, SourceOpener* remote,
                                                const std::stop_token& stop) {
  if (const auto path = local_shard_path(shard)) return open_file(*path);
  if (remote != nullptr && is_remote(shard)) return remote->open(shard, stop);
  return Error{ErrorCode::kUnsupported,
               fmt::format("only files{} can have an index: what comes from a stream cannot be "
                           "recognised nor read by offset later",
                           remote != nullptr ? " and objects over the network" : ""),
               {},
               {},
               {}};
}

Result<OpenShard> open_shard(const std::string& shard, SourceOpener* remote,
                             const std::stop_token& stop) {
  auto stream = open_stream(shard, remote, stop);
  if (!stream) return std::move(stream.error());
  OpenShard open;
  open.file = (*stream)->random_access();
  open.stream = std::move(*stream);
  std::array<std::byte, kMagicBytes> head{};
  auto got = open.file->read_at(0, head);
  if (!got) return std::move(got.error());
  open.compressed = is_compressed(std::span(head).first(*got));
  return open;
}

IndexedSample place_of(const Sample& sample) {
  IndexedSample row;
  row.key = sample.key;
  row.ordinal = sample.ordinal;
  row.offset = sample.offset;
  row.end_offset = sample.end_offset;
  for (const Field& field : sample.fields) {
    row.fields.push_back({field.name, field.written_name, field.offset, field.content_offset,
                          field.size, field.contiguous});
  }
  return row;
}

/// Give every sample of the shard, and every failure as a sample with a reason.
using Take = std::function<Result<void>(const Sample* sample, IndexedSample row)>;
Result<void> walk(OpenShard open, const std::string& shard, const std::stop_token& stop,
                  const Take& take) {
  ShardReaderOptions options;
  // Of a plain file nothing is read but headers, and what is asked of a video.
  if (!open.compressed) options.member_inline_bytes = 0;
  ShardReader reader(std::move(open.stream), shard, options);
  std::uint64_t end = 0;
  while (true) {
    if (stop.stop_requested()) return stopped();
    ReadStep step = reader.step();
    if (std::holds_alternative<ShardEnd>(step)) return {};
    if (std::holds_alternative<NeedsMemory>(step)) {
      return Error{ErrorCode::kMemory, "out of memory", shard, {}, {}};
    }
    if (const auto* sample = std::get_if<Sample>(&step)) {
      end = sample->end_offset;
      if (auto taken = take(sample, place_of(*sample)); !taken) return taken;
      continue;
    }
    auto& failed = std::get<FailedSample>(step);
    if (failed.error.code == ErrorCode::kIo)
      return std::move(failed.error);  // not the data's fault
    // Nothing of it could be read, not even a first header: an index of that would hide it.
    const bool no_archive = failed.fatal && failed.ordinal == 0 && failed.error.key.empty() &&
                            failed.error.offset.value_or(0) == 0;
    if (no_archive) {
      failed.error.message = "this is no archive: " + failed.error.message;
      return std::move(failed.error);
    }
    IndexedSample row;
    row.key = failed.error.key;
    row.ordinal = failed.ordinal;
    row.offset = row.end_offset = std::max(end, failed.error.offset.value_or(end));
    if (!open.compressed) row.offset = row.end_offset = std::min(row.offset, open.file->size());
    row.failure = std::move(failed.error);
    if (auto taken = take(nullptr, std::move(row)); !taken) return taken;
  }
}

/// The field of the sample that holds its video.
const Field* video_field(const Sample& sample, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (const Field* field = sample.find(name)) return field;
  }
  return nullptr;
}

Result<void> add_sample(const Sample* sample, IndexedSample row,
                        const std::vector<std::string>& video_fields, ShardIndexWriter& writer) {
  if (sample == nullptr) return writer.add(row);
  const Field* field = video_field(*sample, video_fields);
  if (field == nullptr) return writer.add(row);
  auto video = describe_video(field->content, field->name);
  if (video) {
    video->record.field = field->name;
    row.video = true;
    auto added = writer.add(row, &video->record, video->packets);
    if (added || added.error().code != ErrorCode::kUnsupported) return added;
    video = std::move(added.error());  // facts beyond what an index can hold
  }
  if (video.error().code == ErrorCode::kIo) return std::move(video.error());
  row.video = false;
  row.failure = std::move(video.error());
  return writer.add(row);
}

Result<std::string> build(const std::string& shard, const IndexBuildOptions& options,
                          const std::stop_token& stop) {
  auto open = open_shard(shard, options.remote, stop);
  if (!open) return std::move(open.error());
  const auto file = open->file;
  const bool seekable = !open->compressed;
  auto before = identify_shard(*file);
  if (!before) return std::move(before.error());
  ShardIndexWriter writer(*before, seekable, options.video_fields);
  auto walked =
      walk(std::move(*open), redacted(shard), stop, [&](const Sample* sample, IndexedSample row) {
        return add_sample(sample, std::move(row), options.video_fields, writer);
      });
  if (!walked) return std::move(walked.error());
  auto again = open_shard(shard, options.remote, stop);  // by name: the file may have been replaced
  if (!again) return std::move(again.error());
  auto after = identify_shard(*again->file);
  if (!after) return std::move(after.error());
  if (*before != *after) {
    return Error{ErrorCode::kIo, "the shard changed while it was indexed", {}, {}, {}};
  }
  return writer.finish();
}

void fill(IndexReport& report, const ShardIndex& index, std::uint64_t bytes) {
  report.seekable = index.seekable();
  report.index_bytes = bytes;
  report.totals = index.totals();
  if (report.totals.failures == 0) return;
  for (std::uint64_t i = 0; i < index.count(); ++i) {
    const IndexedSample sample = index.sample(i);
    if (sample.failure) ++report.failures[std::string(to_string(sample.failure->code))];
  }
}

/// Whether the index that is there will do; the error says why not (kNotFound: none is there).
Result<ShardIndex> load_fresh(const IndexReport& report, const std::string& shard,
                              const IndexBuildOptions& options, const std::stop_token& stop) {
  auto index = ShardIndex::load(report.index);
  if (!index) return index;
  auto open = open_shard(shard, options.remote, stop);
  if (!open) return std::move(open.error());
  auto fresh = index->check_fresh(*open->file, report.shard);
  if (!fresh) return std::move(fresh.error());
  if (auto whole = index->check_blocks(); !whole) return std::move(whole.error());
  if (index->video_fields() != options.video_fields) {
    return Error{ErrorCode::kCorruptArchive,
                 fmt::format("the shard index '{}' was made with other video fields ({})",
                             report.index, fmt::join(index->video_fields(), " ")),
                 {},
                 {},
                 {}};
  }
  return index;
}

std::uint64_t file_bytes(const std::string& path) {
  const auto stream = open_file(path);
  return stream ? (*stream)->random_access()->size() : 0;
}

}  // namespace

std::string_view to_string(IndexState state) noexcept {
  switch (state) {
    case IndexState::kFresh: return "fresh";
    case IndexState::kWritten: return "written";
    case IndexState::kMissing: return "missing";
    case IndexState::kStale: return "stale";
    case IndexState::kFailed: break;
  }
  return "failed";
}

IndexReport index_shard(const std::string& shard, const IndexBuildOptions& options,
                        const std::stop_token& stop) {
  IndexReport report;
  report.shard = redacted(shard);  // what it is read under later, too
  const auto failed = [&report](const Error& error) {
    report.state = IndexState::kFailed;
    report.reason = error.message;
    return report;
  };
  const auto path = shard_index_path(report.shard, options.index_dir);
  if (!path && is_remote(shard)) {  // known without a request
    return failed({ErrorCode::kInvalidOption,
                   "nothing can be put beside a shard over the network; say with --index-dir where "
                   "its index goes",
                   {},
                   {},
                   {}});
  }
  // What cannot be opened is a failure even where only the index is asked for.
  if (auto open = open_shard(shard, options.remote, stop); !open) return failed(open.error());
  report.index = path.value_or("");
  if (!options.force || options.check) {
    const auto there = load_fresh(report, shard, options, stop);
    if (there) {
      report.state = IndexState::kFresh;
      fill(report, *there, file_bytes(report.index));
      return report;
    }
    if (options.check) {
      const bool missing = there.error().code == ErrorCode::kNotFound;
      report.state = missing ? IndexState::kMissing : IndexState::kStale;
      if (!missing) report.reason = there.error().message;
      return report;
    }
  }
  auto bytes = build(shard, options, stop);
  if (!bytes) return failed(bytes.error().at(report.shard));
  if (auto written = write_index_file(report.index, *bytes); !written) {
    return failed(written.error());
  }
  // Read it back: what cannot be loaded must not be left for a training job to find.
  const auto index = ShardIndex::load(report.index);
  if (!index) return failed(index.error());
  report.state = IndexState::kWritten;
  fill(report, *index, bytes->size());
  return report;
}

Result<std::vector<IndexedSample>> list_samples(const std::string& shard,
                                                const std::stop_token& stop) {
  auto open = open_shard(shard, nullptr, stop);
  if (!open) return std::move(open.error());
  if (open->compressed) {
    return Error{ErrorCode::kUnsupported,
                 "it is compressed: no reader can seek in it (decompress it first)",
                 {},
                 {},
                 {}};
  }
  std::vector<IndexedSample> rows;
  auto walked = walk(std::move(*open), shard, stop, [&](const Sample*, IndexedSample row) {
    rows.push_back(std::move(row));
    return Result<void>();
  });
  if (!walked) return std::move(walked.error());
  return rows;
}

}  // namespace shardreel::tools
