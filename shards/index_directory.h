#pragma once
// The directory of an index: tables of strings and profiles, then a row for each sample. Parsed
// from untrusted bytes once, and again row by row when a sample is asked for.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardreel/shard_index.h"
#include "shards/index_bytes.h"

namespace shardreel {

/// Where a row is, and what cannot be told without those before it.
struct IndexRow {
  std::uint64_t at = 0;  ///< of the row in the directory's bytes
  std::uint64_t ordinal = 0;
  std::uint64_t last_end = 0;      ///< where the sample before ended
  std::uint64_t block_offset = 0;  ///< of its video's block among the blocks
};

/// A video's part of a row.
struct IndexedBlock {
  std::uint64_t stored_bytes = 0, raw_bytes = 0, keyframes = 0;
  std::uint64_t hash = 0;
};

struct ParsedRow {
  std::uint64_t ordinal_gap = 0;
  std::uint64_t offset = 0, end_offset = 0;
  std::string_view key;
  struct FieldView {
    std::uint64_t name = 0, written_name = 0;  ///< numbers of strings
    bool renamed = false, contiguous = true;
    std::uint64_t offset = 0, content_offset = 0, size = 0;
  };
  std::vector<FieldView> fields;
  bool video = false;
  std::uint64_t profile = 0;
  std::int64_t frame_count = 0;
  double seconds = 0;
  std::uint64_t packets = 0;
  IndexedBlock block;
  std::uint64_t failure_code = 0;  ///< number of a string
  std::string_view failure_message;
  std::optional<std::uint64_t> failure_offset;
};

class IndexDirectory {
 public:
  /// Take the directory's bytes. Returns what is wrong with them, or nothing. `content_bytes`: no
  /// member may reach beyond it (the shard's size where offsets lead into it).
  std::optional<std::string> parse(std::string bytes, std::uint64_t samples,
                                   std::uint64_t content_bytes, std::uint64_t block_bytes);

  [[nodiscard]] const std::vector<IndexRow>& rows() const { return rows_; }
  [[nodiscard]] const std::vector<std::string>& video_fields() const { return video_fields_; }
  [[nodiscard]] const IndexTotals& totals() const { return totals_; }
  [[nodiscard]] std::uint64_t memory_bytes() const;

  /// Row `i`, which `parse` has checked; `into` is reused.
  void read_row(std::uint64_t i, ParsedRow& into) const;
  [[nodiscard]] std::string_view key(std::uint64_t i) const;
  [[nodiscard]] IndexedSample sample(std::uint64_t i) const;
  /// The row's video without what its block holds.
  [[nodiscard]] VideoRecord video(const ParsedRow& row) const;

 private:
  bool parse_tables(IndexCursor& in);
  bool parse_profile(IndexCursor& in);
  /// Whether the row makes sense; `in` is behind it then.
  bool parse_row(IndexCursor& in, std::uint64_t last_end, ParsedRow& row) const;
  bool parse_field(IndexCursor& in, std::uint64_t& last, ParsedRow::FieldView& field) const;
  bool parse_video(IndexCursor& in, ParsedRow& row) const;
  void add_to_totals(const ParsedRow& row);

  std::string bytes_;
  std::uint64_t content_bytes_ = 0;
  std::vector<std::string> video_fields_, strings_;
  struct Profile {
    VideoRecord record;
    std::uint64_t field = 0;  ///< number of its field's name
  };
  std::vector<Profile> profiles_;
  std::vector<IndexRow> rows_;
  IndexTotals totals_;
};

}  // namespace shardreel
