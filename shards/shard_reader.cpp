#include "shardreel/shard_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <unordered_set>
#include <utility>

#include "shards/file_access.h"
#include "shards/sample_grouper.h"
#include "shards/tar_entry_reader.h"

namespace shardreel {
namespace {

std::uint64_t padded(std::uint64_t size) { return (size + 511) / 512 * 512; }

/// The sample that is being put together.
struct Group {
  Sample sample;
  std::unordered_set<std::string> names;
  bool begun = false;     ///< a member of it has been taken in whole, kept or not
  bool failed = false;    ///< reported already; its further members are passed over
  bool dropped = false;   ///< by a non-empty `__bad__`: not delivered and no failure
  bool open_end = false;  ///< where its last member ends is only known from what follows
};

/// A member that belongs to a sample, waiting to be read.
struct Member {
  TarEntry entry;
  std::string key;
  std::string field;
  std::string written;  ///< the field's name as the archive has it, where that differs
};

bool is_large(const ShardReaderOptions& options, std::uint64_t size) {
  return size > options.member_inline_bytes || size > std::numeric_limits<std::size_t>::max();
}

}  // namespace

std::optional<Error> refuse_size(const ShardReaderOptions& options, std::string_view field,
                                 std::uint64_t size) {
  if (size > options.max_member_bytes) {
    return Error{ErrorCode::kTooLarge,
                 fmt::format("field {} claims {} bytes; expected at most {} (max_member_bytes)",
                             field, size, options.max_member_bytes),
                 {},
                 {},
                 {}};
  }
  if (!is_large(options, size) || options.large_fields.empty()) return std::nullopt;
  const auto& allowed = options.large_fields;
  if (std::find(allowed.begin(), allowed.end(), field) != allowed.end()) return std::nullopt;
  return Error{ErrorCode::kMemory,
               fmt::format("field {} of {} bytes travels in memory; expected at most {} "
                           "(member_inline_bytes)",
                           field, size, options.member_inline_bytes),
               {},
               {},
               {}};
}

struct ShardReader::State {
  State(std::unique_ptr<ByteStream> stream, std::string shard_url, ShardReaderOptions given)
      : tar(TarEntryReader::make(std::move(stream), given.integrity)),
        shard(std::move(shard_url)),
        options(std::move(given)) {
    if (options.allocator == nullptr) options.allocator = &heap_allocator();
  }

  std::unique_ptr<TarEntryReader> tar;
  std::string shard;
  ShardReaderOptions options;
  std::deque<ReadStep> ready;  ///< at most a sample and the failure behind it
  std::optional<Member> member;
  std::optional<Group> group;
  std::uint64_t next_ordinal = 0;
  std::uint64_t members = 0;  ///< seen, of samples or not
  bool ended = false;

  [[nodiscard]] bool strict() const { return options.integrity == Integrity::kStrict; }

  /// Go to the next member that belongs to a sample, or end the shard.
  void advance() {
    while (true) {
      auto entry = tar->next();
      if (!entry) return break_off(std::move(entry.error()));
      if (!*entry) return end_archive();
      ++members;
      close_end((*entry)->offset);
      if (!(*entry)->regular || is_metadata_name((*entry)->name)) continue;
      const auto split = split_member_name((*entry)->name);
      if (!split) {
        if (auto passed = look_at_content(); !passed) return break_off(std::move(passed.error()));
        continue;
      }
      member = Member{**entry, std::string(split->key), lower_field(split->field), {}};
      if (member->field != split->field) member->written = split->field;
      return;
    }
  }

  /// The current sample's last member is sparse: it ends at the latest where the next thing begins.
  void close_end(std::uint64_t offset) {
    if (group && std::exchange(group->open_end, false)) group->sample.end_offset = offset;
  }

  /// Compat: the reference reads a member's content before it looks at the name, and raises what
  /// goes wrong there even where nothing of the member is wanted.
  Result<void> look_at_content() { return strict() ? Result<void>() : tar->pass_over(); }

  [[nodiscard]] bool wanted(std::uint64_t ordinal) const {
    return ordinal % options.modulo == options.remainder;
  }

  /// The current sample is complete: nothing of its key follows.
  void close_group() {
    if (!group) return;
    if (!group->failed && !group->dropped && wanted(group->sample.ordinal)) {
      ready.emplace_back(std::move(group->sample));
    }
    group.reset();
  }

  /// Every key takes one place in the count, whatever becomes of it: so ranks that take different
  /// samples of the shard count alike.
  void open_group() {
    group.emplace();
    group->sample.key = member->key;
    group->sample.shard = shard;
    group->sample.offset = member->entry.offset;
    group->sample.ordinal = next_ordinal++;
  }

  /// The current sample has failed, the shard goes on.
  void fail_group(Error error) {
    error.at(shard, member->key, member->entry.offset);
    if (wanted(group->sample.ordinal)) {
      ready.emplace_back(FailedSample{std::move(error), group->sample.ordinal, false});
    }
    group->failed = true;
    group->sample.fields.clear();
  }

  void end_with(Error error, std::string_view key, std::uint64_t ordinal) {
    error.at(shard, key);
    ready.emplace_back(FailedSample{std::move(error), ordinal, true});
    group.reset();
    member.reset();
    ended = true;
  }

  /// The rest of the shard cannot be read. Strict: what was being put together may lack members,
  /// so it fails. Compat: it is delivered as it is, and the error that the reference raises
  /// follows.
  void break_off(Error error) {
    const bool pending = group && !group->failed && !group->dropped;
    const bool lost = pending && (strict() || (member && !group->begun));
    const std::string key = lost ? group->sample.key : "";
    const std::uint64_t ordinal = lost ? group->sample.ordinal : next_ordinal++;
    if (lost) group.reset();
    close_group();
    end_with(std::move(error), key, ordinal);
  }

  void end_archive() {
    ended = true;
    close_end(tar->members_end());
    if (!strict()) return close_group();
    if (auto marked = tar->check_end_marker(); !marked) {
      return break_off(std::move(marked.error()));
    }
    auto rest = tar->check_nothing_behind();
    if (!rest && tar->stream_damaged()) return break_off(std::move(rest.error()));
    close_group();
    if (!rest) end_with(std::move(rest.error()), {}, next_ordinal++);
  }

  /// Take the waiting member into the current sample. Returns false when memory was refused.
  bool take_member(std::uint64_t& refused) {
    const TarEntry& entry = member->entry;
    const bool taken_name =
        is_reserved_field(member->field) || group->names.contains(member->field);
    const bool marks_bad = member->field == "__bad__" && entry.size > 0;
    const bool left_out = group->failed || group->dropped;
    if (taken_name && strict() && !left_out) {
      const char* why =
          is_reserved_field(member->field) ? "reserved" : "there twice in this sample";
      fail_group(Error{
          ErrorCode::kDuplicateField,
          fmt::format("member '{}': the field name '{}' is {}", entry.name, member->field, why),
          {},
          {},
          {}});
    } else if (left_out || taken_name || marks_bad || !wanted(group->sample.ordinal)) {
      // The reference's handler ignores a name that is taken: the first value stays.
      if (auto passed = look_at_content(); !passed) {
        break_off(std::move(passed.error()));
      } else if (marks_bad && !taken_name && !left_out) {
        group->dropped = true;
        group->sample.fields.clear();
      } else {
        group->names.insert(member->field);
      }
    } else if (auto problem = refuse_size(options, member->field, entry.size); problem) {
      fail_group(std::move(*problem));
    } else if (auto claim = tar->check_claim(); !claim) {
      break_off(std::move(claim.error()));
    } else if (!read_member(refused)) {
      return false;
    }
    if (group) {
      group->begun = true;
      group->open_end = !entry.range;
      if (entry.range) group->sample.end_offset = entry.data_offset + padded(entry.size);
    }
    member.reset();
    return true;
  }

  bool read_member(std::uint64_t& refused) {
    const TarEntry& entry = member->entry;
    Field field{member->field, entry.offset, entry.size, nullptr, false, entry.range};
    if (entry.range) field.content_offset = entry.data_offset;
    field.written_name = member->written;
    if (!is_large(options, entry.size)) {
      OwnedBytes bytes;
      if (field.size > 0) {
        auto given = options.allocator->try_allocate(static_cast<std::size_t>(field.size));
        if (!given) {
          refused = field.size;
          return false;
        }
        bytes = std::move(*given);
        field.in_memory = true;
      }
      if (auto read = tar->read_into(bytes.span()); !read) {
        break_off(std::move(read.error()));
        return true;
      }
      // Shared: a consumer may keep one field's content longer than its sample.
      field.content = memory_source(std::make_shared<const OwnedBytes>(std::move(bytes)));
    } else if (auto range = tar->file_range()) {
      if (auto passed = tar->pass_over(); !passed) {
        break_off(std::move(passed.error()));
        return true;
      }
      field.content = std::move(range);
    } else if (!spool(field)) {
      return true;
    }
    group->names.insert(field.name);
    group->sample.fields.push_back(std::move(field));
    return true;
  }

  /// Copy a large member of a stream to a file of its own; false when that failed.
  bool spool(Field& field) {
    auto file = SpoolFile::create(options.spool_dir, field.size);
    if (!file) {
      fail_group(std::move(file.error()));
      return false;
    }
    bool disk_failed = false;
    auto read = tar->read([&](std::uint64_t at, std::span<const std::byte> piece) {
      auto written = file->write(at, piece);
      disk_failed = !written.has_value();
      return written;
    });
    if (!read && disk_failed) {
      fail_group(std::move(read.error()));
    } else if (!read) {
      break_off(std::move(read.error()));
    } else {
      field.content = std::move(*file).finish();
    }
    return read.has_value();
  }

  [[nodiscard]] ShardEnd end() const {
    if (next_ordinal > 0) return {};
    if (members == 0) return {"the archive has no members, so no samples"};
    return {
        fmt::format("none of the archive's {} members belongs to a sample; expected files named "
                    "KEY.FIELD, in no folder named __NAME__",
                    members)};
  }

  ReadStep step() {
    while (true) {
      if (!ready.empty()) {
        ReadStep given = std::move(ready.front());
        ready.pop_front();
        return given;
      }
      if (ended) return end();
      if (!member) {
        advance();
        continue;
      }
      if (!group || group->sample.key != member->key) {
        close_group();
        open_group();
        if (!ready.empty()) continue;
      }
      std::uint64_t refused = 0;
      if (!take_member(refused)) return NeedsMemory{refused};
    }
  }
};

ShardReader::ShardReader(std::unique_ptr<ByteStream> stream, std::string shard,
                         ShardReaderOptions options)
    : state_(std::make_unique<State>(std::move(stream), std::move(shard), std::move(options))) {}
ShardReader::ShardReader(ShardReader&&) noexcept = default;
ShardReader& ShardReader::operator=(ShardReader&&) noexcept = default;
ShardReader::~ShardReader() = default;

ReadStep ShardReader::step() { return state_->step(); }

void ShardReader::refuse(Error error) {
  if (state_->member && state_->group) state_->fail_group(std::move(error));
}

std::uint64_t ShardReader::position() const noexcept { return state_->tar->position(); }

}  // namespace shardreel
