// Energon's database of samples, through SQLite; the one file of ours that uses it.
#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

#include "tools/commands/companion_index.h"

namespace shardreel::tools {
namespace {

struct CloseDatabase {
  void operator()(sqlite3* database) const noexcept { sqlite3_close(database); }
};
struct EndStatement {
  void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, EndStatement>;

// Names and columns are Energon's; it looks them up by these words.
constexpr const char* kTables = R"(
  PRAGMA journal_mode = OFF;
  PRAGMA synchronous = OFF;
  BEGIN;
  CREATE TABLE samples (tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL UNIQUE,
    sample_index INTEGER NOT NULL, byte_offset INTEGER, byte_size INTEGER);
  CREATE TABLE sample_parts (tar_file_id INTEGER, sample_index INTEGER, part_name TEXT,
    content_byte_offset INTEGER, content_byte_size INTEGER);
)";
constexpr const char* kLookups = R"(
  CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);
  CREATE INDEX idx_sample_parts_seq
    ON sample_parts(tar_file_id, sample_index, content_byte_offset);
  CREATE INDEX idx_sample_parts_full
    ON sample_parts(tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size);
  COMMIT;
)";

class Database {
 public:
  explicit Database(std::string path) : path_(std::move(path)) {
    sqlite3* opened = nullptr;
    sqlite3_open_v2(path_.c_str(), &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
    handle_.reset(opened);
    run(kTables);
  }
  void run(const char* sql) {
    if (good_ && sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
  }
  Statement prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (good_ && sqlite3_prepare_v2(handle_.get(), sql, -1, &statement, nullptr) != SQLITE_OK) {
      fail();
    }
    return Statement(statement);
  }
  /// Numbers and one text (the third value), in the order of the statement's marks.
  int insert(const Statement& into, const std::array<std::uint64_t, 4>& numbers,
             const std::string& text, int text_at) {
    int at = 1;
    for (const std::uint64_t number : numbers) {
      if (at == text_at) ++at;
      sqlite3_bind_int64(into.get(), at++, static_cast<sqlite3_int64>(number));
    }
    sqlite3_bind_text(into.get(), text_at, text.data(), static_cast<int>(text.size()),
                      SQLITE_STATIC);
    const int status = sqlite3_step(into.get());
    sqlite3_reset(into.get());
    if (status != SQLITE_DONE && status != SQLITE_CONSTRAINT) fail();
    return status;
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] Error error() const {
    return Error{
        ErrorCode::kIo, fmt::format("writing the database '{}': {}", path_, words_), {}, {}, {}};
  }

 private:
  void fail() {
    if (good_) words_ = handle_ ? sqlite3_errmsg(handle_.get()) : "out of memory";
    good_ = false;
  }
  std::string path_;
  std::unique_ptr<sqlite3, CloseDatabase> handle_;
  bool good_ = true;
  std::string words_;
};

Result<void> fill(const CompanionShards& shards, const std::string& path) {
  Database database(path);
  const Statement sample = database.prepare("INSERT INTO samples VALUES (?, ?, ?, ?, ?)");
  const Statement part = database.prepare("INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)");
  for (std::uint64_t shard = 0; shard < shards.size() && database.good(); ++shard) {
    const auto& rows = shards[shard].samples;
    for (std::uint64_t i = 0; i < rows.size() && database.good(); ++i) {
      const IndexedSample& row = rows[i];
      // As Energon counts them: up to the next sample, whatever lies in between.
      const std::uint64_t end = i + 1 < rows.size() ? rows[i + 1].offset : row.end_offset;
      if (database.insert(sample, {shard, i, row.offset, end - row.offset}, row.key, 2) ==
          SQLITE_CONSTRAINT) {
        return Error{ErrorCode::kUnsupported,
                     "the key is there twice among these shards; Energon takes each key once",
                     shards[shard].url, row.key, row.offset};
      }
      for (const IndexedField& field : row.fields) {
        const std::string& name = field.written_name.empty() ? field.name : field.written_name;
        database.insert(part, {shard, i, field.content_offset, field.size}, name, 3);
      }
    }
  }
  database.run(kLookups);
  if (!database.good()) return database.error();
  return {};
}

Error system_failure(std::string_view doing, const std::string& path) {
  return Error{ErrorCode::kIo,
               fmt::format("{} '{}': {}", doing, path, std::generic_category().message(errno)),
               {},
               {},
               {}};
}

Result<void> publish(const std::string& temporary, const std::string& path) {
  const int fd = open(temporary.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  const Error error = system_failure("syncing", temporary);
  if (fd >= 0) close(fd);
  if (!synced) return error;
  if (rename(temporary.c_str(), path.c_str()) != 0) return system_failure("renaming to", path);
  return {};
}

}  // namespace

Result<void> write_energon_database(const CompanionShards& shards, const std::string& path) {
  const std::string temporary = fmt::format("{}.partial-{}", path, getpid());
  unlink(temporary.c_str());
  auto written = fill(shards, temporary);
  if (written) written = publish(temporary, path);
  if (!written) unlink(temporary.c_str());
  return written;
}

}  // namespace shardreel::tools
