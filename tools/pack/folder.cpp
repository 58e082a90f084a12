#include "tools/pack/folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <set>

#include "shards/dataset_manifest.h"
#include "shards/file_access.h"
#include "shards/unique_fd.h"

namespace shardreel::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kJournalStart = ".shardreel-pack";
constexpr std::string_view kJournalEnd = ".journal";
constexpr std::string_view kPartial = ".partial-";
constexpr std::string_view kCleared = "{\"cleared\":true}";

Error in_the_way(std::string message) {
  return Error{ErrorCode::kIo, std::move(message), {}, {}, {}};
}

/// Take a number of at least four digits off the front.
std::optional<std::uint32_t> take_number(std::string_view& text) {
  std::uint32_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto digits = static_cast<std::size_t>(end - text.data());
  if (status != std::errc{} || digits < 4) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

Result<void> sync_folder(const std::string& directory) {
  const UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) {
    return system_error(fmt::format("syncing the folder '{}'", directory), errno);
  }
  return {};
}

Result<void> remove_file(const std::string& directory, const std::string& name) {
  const std::string path = directory + "/" + name;
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return system_error(fmt::format("removing '{}'", path), errno);
  }
  return {};
}

bool is_own_shard(const FolderClaim& claim, std::string_view name) {
  return std::any_of(claim.prefixes.begin(), claim.prefixes.end(),
                     [&](const std::string& prefix) { return is_shard_name(name, prefix); });
}

/// A file that a killed run of this set left under its temporary name.
bool is_own_temporary(const FolderClaim& claim, std::string_view name) {
  const std::size_t end = name.rfind(kPartial);
  if (!name.starts_with('.') || end == std::string_view::npos) return false;
  const std::string_view final_name = name.substr(1, end - 1);
  return is_own_shard(claim, final_name) ||
         (!claim.task && (final_name == kDatasetManifestName || final_name == kRefusedName));
}

/// Refuse to go on beside a run of another kind: one alone beside tasks, or other numbers of tasks.
Result<void> check_other_journals(const FolderClaim& claim, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!name.starts_with(kJournalStart) || !name.ends_with(kJournalEnd)) continue;
    const auto other = task_of_journal(name);
    if (name == journal_name(claim.task)) continue;
    if (claim.task && other && other->count == claim.task->count) continue;
    if (claim.overwrite && !claim.task) {
      // Only one that is not running may be swept away.
      if (const auto idle = Journal::read(claim.directory + "/" + name); !idle) {
        return idle.error();
      }
      if (auto gone = remove_file(claim.directory, name); !gone) return gone;
      continue;
    }
    return in_the_way(fmt::format(
        "'{}/{}' is the journal of another run that packs into this folder; finish that one, or "
        "{}",
        claim.directory, name, claim.task ? "delete it" : "--overwrite"));
  }
  return {};
}

/// Remove the set that is in the folder. The manifest goes last: it lists what has to go.
Result<void> clear_set(const FolderClaim& claim, const std::vector<std::string>& names) {
  std::set<std::string> doomed;
  for (const std::string& name : names) {
    if (is_own_shard(claim, name)) doomed.insert(name);
  }
  const std::string manifest_name(kDatasetManifestName);
  // A task leaves the shards of the others alone; --finish finds what is left over.
  if (!claim.task) {
    const auto old = read_dataset_manifest(claim.directory + "/" + manifest_name);
    if (old) {
      for (const ManifestShard& shard : old->shards) doomed.insert(shard.name);
    }
  }
  for (const std::string& name : doomed) {
    if (auto gone = remove_file(claim.directory, name); !gone) return gone;
  }
  if (auto gone = remove_file(claim.directory, std::string(kRefusedName)); !gone) return gone;
  if (auto gone = remove_file(claim.directory, manifest_name); !gone) return gone;
  return sync_folder(claim.directory);
}

/// A new run: nothing may be in the way, or it is removed. The journal knows of the run before the
/// first file goes, so that a kill in between is gone on from.
Result<void> begin_run(const FolderClaim& claim, const std::vector<std::string>& names,
                       Journal& journal) {
  for (const std::string& name : names) {
    if (claim.overwrite) break;
    if (name == kDatasetManifestName || is_own_shard(claim, name)) {
      return in_the_way(
          fmt::format("'{}/{}' is there already; expected a folder without a packed "
                      "set (or --overwrite)",
                      claim.directory, name));
    }
  }
  if (auto cleared = journal.clear(); !cleared) return cleared;
  if (auto put = journal.append(claim.header, true); !put) return put;
  if (auto synced = sync_folder(claim.directory); !synced) return synced;
  if (claim.overwrite) {
    if (auto cleared = clear_set(claim, names); !cleared) return cleared;
  }
  return journal.append(kCleared, true);
}

Result<void> make_ready(const FolderClaim& claim, Journal& journal) {
  auto names = names_in(claim.directory);
  if (!names) return std::move(names.error());
  if (auto good = check_other_journals(claim, *names); !good) return good;
  const auto& lines = journal.lines();
  const bool same = !lines.empty() && lines[0] == claim.header;
  if (!lines.empty() && !same && !claim.overwrite) {
    return in_the_way(fmt::format(
        "'{}' holds an unfinished run with other inputs or options (or inputs that have changed "
        "since); run it as it was, or --overwrite",
        claim.directory));
  }
  for (const std::string& name : *names) {
    if (!is_own_temporary(claim, name)) continue;
    if (auto gone = remove_file(claim.directory, name); !gone) return gone;
  }
  if (same && lines.size() > 1) return {};
  return begin_run(claim, *names, journal);
}

}  // namespace

std::string journal_name(const std::optional<TaskName>& task) {
  if (!task) return fmt::format("{}{}", kJournalStart, kJournalEnd);
  return fmt::format("{}-{:04}-of-{:04}{}", kJournalStart, task->index, task->count, kJournalEnd);
}

std::optional<TaskName> task_of_journal(std::string_view name) {
  if (!name.starts_with(kJournalStart)) return std::nullopt;
  name.remove_prefix(kJournalStart.size());
  if (!name.starts_with('-')) return std::nullopt;
  name.remove_prefix(1);
  const auto index = take_number(name);
  if (!index || !name.starts_with("-of-")) return std::nullopt;
  name.remove_prefix(4);
  const auto count = take_number(name);
  if (!count || name != kJournalEnd || *index >= *count) return std::nullopt;
  return TaskName{*index, *count};
}

bool is_shard_name(std::string_view name, std::string_view prefix) noexcept {
  constexpr std::string_view kTar = ".tar";
  constexpr std::size_t kDigits = 6;
  if (!name.starts_with(prefix) || !name.ends_with(kTar)) return false;
  if (name.size() < prefix.size() + kDigits + kTar.size()) return false;
  const std::string_view digits =
      name.substr(prefix.size(), name.size() - prefix.size() - kTar.size());
  return std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Result<std::vector<std::string>> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code failed;
  fs::directory_iterator entry(directory, failed);
  for (; !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
    names.push_back(entry->path().filename().string());
  }
  if (failed && failed != std::errc::no_such_file_or_directory) {
    return system_error(fmt::format("listing the folder '{}'", directory), failed.value());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<void> check_size(const std::string& directory, const std::string& name,
                        std::uint64_t bytes) {
  struct stat facts {};
  const std::string path = directory + "/" + name;
  if (stat(path.c_str(), &facts) != 0) return system_error(fmt::format("'{}'", path), errno);
  if (static_cast<std::uint64_t>(facts.st_size) == bytes) return {};
  return Error{ErrorCode::kIo,
               fmt::format("'{}' has {} bytes; {} were written", path, facts.st_size, bytes),
               {},
               {},
               {}};
}

Result<void> write_whole_file(const std::string& directory, const std::string& name,
                              std::string_view text) {
  const std::string temporary = fmt::format("{}/.{}{}{}", directory, name, kPartial, getpid());
  const std::string path = directory + "/" + name;
  UniqueFd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd) return system_error(fmt::format("making '{}'", temporary), errno);
  auto done = write_at(fd.get(), 0, std::as_bytes(std::span(text)), fmt::format("'{}'", temporary));
  if (done && fsync(fd.get()) != 0) {
    done = system_error(fmt::format("syncing '{}'", temporary), errno);
  }
  if (done && rename(temporary.c_str(), path.c_str()) != 0) {
    done = system_error(fmt::format("renaming '{}' to '{}'", temporary, path), errno);
  }
  if (!done) {
    unlink(temporary.c_str());
    return done;
  }
  return sync_folder(directory);
}

Result<Journal> claim_folder(const FolderClaim& claim) {
  std::error_code failed;
  fs::create_directories(claim.directory, failed);
  if (failed) {
    return system_error(fmt::format("making the folder '{}'", claim.directory), failed.value());
  }
  auto journal = Journal::open(claim.directory + "/" + journal_name(claim.task));
  if (!journal) return journal;
  auto ready = make_ready(claim, *journal);
  if (!ready) {
    // One that was begun here and says nothing must not stand in the way of others.
    if (journal->lines().empty()) (void)journal->remove();
    return std::move(ready.error());
  }
  return journal;
}

}  // namespace shardreel::tools
