#include "tools/commands/verify_repair.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <string_view>
#include <system_error>

#include "shardreel/shard_writer.h"

namespace shardreel::tools {
namespace {

namespace fs = std::filesystem;

Error failed(ErrorCode code, std::string message) { return {code, std::move(message), {}, {}, {}}; }

Error system_failure(const std::string& doing) {
  return failed(ErrorCode::kIo, fmt::format("{}: {}", doing, std::strerror(errno)));
}

std::string new_name(const std::string& url, std::uint64_t number) {
  std::string name;
  if (const auto path = local_path(url)) name = fs::path(*path).filename().string();
  for (const std::string_view ending : {".gz", ".bz2", ".xz", ".zst", ".lzma"}) {
    if (name.ends_with(ending)) name.resize(name.size() - ending.size());
  }
  if (name.ends_with(".tgz")) name.replace(name.size() - 3, 3, "tar");
  return name.empty() ? fmt::format("shard-{:06}.tar", number) : name;
}

/// The folder that a shard is written in before it gets its name; removed with the object.
class WorkFolder {
 public:
  explicit WorkFolder(const std::string& directory)
      : path_(fmt::format("{}/.repair-{}", directory, getpid())) {}
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  ~WorkFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Result<void> publish(const std::string& from, const std::string& directory,
                     const std::string& name) {
  const std::string to = directory + "/" + name;
  int status = renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE);
  if (status != 0 && (errno == EINVAL || errno == ENOSYS)) {
    // This file system cannot refuse in one step.
    if (access(to.c_str(), F_OK) == 0)
      errno = EEXIST;
    else
      status = rename(from.c_str(), to.c_str());
  }
  if (status != 0) return system_failure(fmt::format("renaming a shard to '{}'", to));
  const int folder = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = folder >= 0 && fsync(folder) == 0;
  if (folder >= 0) close(folder);
  if (!synced) return system_failure(fmt::format("syncing the folder '{}'", directory));
  return {};
}

class Repairer final : public WalkVisitor {
 public:
  Repairer(const std::vector<std::string>& names, const std::string& directory,
           const Verdict& verdict)
      : names_(names), verdict_(verdict), work_(directory) {
    report_.directory = directory;
  }

  Result<bool> sample(WalkedSample walked) override {
    const Sample& sample = walked.sample;
    if (std::string reason = verdict_(walked.shard_number, sample); !reason.empty()) {
      leave_out({sample.shard, sample.key, sample.offset, std::move(reason)});
      return true;
    }
    if (!writer_) {
      auto writer = ShardWriter::create({work_.path(), "s", 0, 0, true});
      if (!writer) return std::move(writer.error());
      writer_.emplace(std::move(*writer));
    }
    std::vector<FieldToWrite> fields;
    for (const Field& field : sample.fields) fields.push_back({field.name, field.content});
    auto written = writer_->write(sample.key, fields);
    if (written) return true;
    // Names that no writer should make; everything else is the disk's or the source's failure.
    const ErrorCode code = written.error().code;
    if (code != ErrorCode::kInvalidOption && code != ErrorCode::kDuplicateField)
      return std::move(written.error());
    leave_out({sample.shard, sample.key, sample.offset, written.error().message});
    return true;
  }

  Result<bool> failure(std::uint64_t /*shard*/, const FailedSample& failure) override {
    const Error& error = failure.error;
    leave_out({error.shard, error.key, error.offset,
               failure.fatal ? error.message + " (and all that follows)" : error.message});
    return true;
  }

  Result<bool> shard_end(const WalkedShard& shard) override {
    if (!writer_) return true;
    auto written = writer_->finish();
    writer_.reset();
    if (!written) return std::move(written.error());
    for (const WrittenShard& made : *written) {
      auto done = publish(made.path, report_.directory, names_[shard.number]);
      if (!done) return std::move(done.error());
      ++report_.shards;
      report_.samples += made.samples;
      report_.bytes += made.bytes;
    }
    return true;
  }

  RepairReport report() && { return std::move(report_); }

 private:
  void leave_out(LeftOut one) {
    ++report_.left_out_count;
    if (report_.left_out.size() < RepairReport::kMostLeftOut)
      report_.left_out.push_back(std::move(one));
  }

  const std::vector<std::string>& names_;
  const Verdict& verdict_;
  RepairReport report_;
  WorkFolder work_;
  std::optional<ShardWriter> writer_;  // after the folder: it removes its file first
};

}  // namespace

Result<std::vector<std::string>> repaired_names(const ShardList& shards,
                                                const std::string& directory) {
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (std::uint64_t number = 0; number < shards.size(); ++number) {
    std::string name = new_name(shards.at(number), number);
    const std::string path = directory + "/" + name;
    if (!taken.insert(name).second)
      return failed(ErrorCode::kInvalidOption,
                    fmt::format("two shards would be repaired as '{}'; repair them apart", path));
    std::error_code ignored;
    if (fs::symlink_status(path, ignored).type() != fs::file_type::not_found)
      return failed(ErrorCode::kInvalidOption,
                    fmt::format("'{}' is there already; --repair writes over nothing", path));
    names.push_back(std::move(name));
  }
  return names;
}

Result<RepairReport> repair_shards(const ShardList& shards, const std::vector<std::string>& names,
                                   const std::string& directory, const Verdict& verdict,
                                   const std::stop_token& stop) {
  std::error_code problem;
  fs::create_directories(directory, problem);
  if (problem)
    return failed(ErrorCode::kIo,
                  fmt::format("making the folder '{}': {}", directory, problem.message()));
  Repairer repairer(names, directory, verdict);
  auto walked = walk_shards(shards, {}, repairer, stop);
  if (!walked) return std::move(walked.error());
  return std::move(repairer).report();
}

}  // namespace shardreel::tools
