#include "loader/read/pipe_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/read/wait_bound.h"
#include "shards/unique_fd.h"

extern char** environ;

namespace shardreel {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{256} << 10;

// Runs the command, $1, as a child, beside one that waits for the end of the loader: standard input
// is a pipe that ends with the process that holds the other end, however it dies. No signal of the
// kernel does that: it would follow the thread that started the command, and reach no grandchild.
constexpr const char* kSupervisor =
    "exec 3<&0 </dev/null; "
    "{ read -r never <&3; kill -KILL 0; } >/dev/null 2>&1 & watcher=$!; "
    "/bin/sh -c \"$1\" 3<&-; code=$?; "
    "kill -KILL $watcher; wait $watcher 2>/dev/null; exit $code";
// What a shell adds to the number of the signal that ended a command.
constexpr int kSignalStatus = 128;

double seconds_of(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

Error system_error(std::string doing, int number) {
  return {ErrorCode::kIo, std::move(doing) + ": " + std::strerror(number), {}, {}, {}};
}

/// The buffer between the event loop, which fills it, and the reading thread, which empties it.
/// Kept alive by the handler in flight; all members but `descriptor` are under the mutex.
struct PipeState : std::enable_shared_from_this<PipeState> {
  explicit PipeState(boost::asio::io_context& loop, int fd) : descriptor(loop, fd) {}

  boost::asio::posix::stream_descriptor descriptor;  // used on the loop's thread only
  std::array<std::byte, 65536> block{};              // likewise

  Mutex mutex;
  Condition changed;
  std::vector<std::byte> buffered SHARDREEL_GUARDED_BY(mutex);
  std::size_t consumed SHARDREEL_GUARDED_BY(mutex) = 0;  // of `buffered`
  bool reading SHARDREEL_GUARDED_BY(mutex) = false;      // a handler is in flight
  bool ended SHARDREEL_GUARDED_BY(mutex) = false;
  std::optional<Error> failure SHARDREEL_GUARDED_BY(mutex);

  /// Begin the next read when there is room and none is in flight. Runs on the loop's thread.
  void read_some() {
    {
      const MutexLock lock(mutex);
      if (reading || ended || buffered.size() - consumed >= kBufferBytes) return;
      reading = true;
    }
    descriptor.async_read_some(
        boost::asio::buffer(block),
        [self = shared_from_this()](const boost::system::error_code& error, std::size_t bytes) {
          self->on_read(error, bytes);
        });
  }

  void on_read(const boost::system::error_code& error, std::size_t bytes) {
    {
      const MutexLock lock(mutex);
      reading = false;
      buffered.insert(buffered.end(), block.begin(),
                      block.begin() + static_cast<std::ptrdiff_t>(bytes));
      if (error) {
        ended = true;
        if (error != boost::asio::error::eof && error != boost::asio::error::operation_aborted) {
          failure = Error{ErrorCode::kIo, "reading the pipe: " + error.message(), {}, {}, {}};
        }
      }
    }
    changed.notify_all();
    read_some();
  }
};

class PipeStream final : public ByteStream {
 public:
  /// `command` is empty for standard input, which is no child's.
  struct Child {
    pid_t pid = 0;
    UniqueFd lifeline;
    std::string command;
    bool check_status = false;
  };
  PipeStream(boost::asio::io_context& loop, int fd, Child child, const PipeTimeouts& timeouts,
             const std::stop_token& stop)
      : loop_(loop),
        state_(std::make_shared<PipeState>(loop, fd)),
        child_(std::move(child)),
        stall_timeout_(timeouts.stall),
        bound_(timeouts.shard),
        stop_(stop) {
    request();
  }
  PipeStream(const PipeStream&) = delete;
  PipeStream& operator=(const PipeStream&) = delete;

  ~PipeStream() override {
    boost::asio::post(loop_, [state = state_] {
      boost::system::error_code ignored;
      state->descriptor.close(ignored);
    });
    if (child_.pid > 0) {
      // The group, not the child alone: a shell's children would live on and keep the pipe open.
      kill(-child_.pid, SIGKILL);
      while (waitpid(child_.pid, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
  }

  Result<std::size_t> read(std::span<std::byte> into) override {
    std::size_t given = 0;
    {
      const MutexLock lock(state_->mutex);
      if (auto there = wait_for_bytes(); !there) return std::move(there.error());
      given = std::min(into.size(), state_->buffered.size() - state_->consumed);
      std::copy_n(state_->buffered.begin() + static_cast<std::ptrdiff_t>(state_->consumed), given,
                  into.begin());
      state_->consumed += given;
      // Drop what was read before it adds up: a reader of odd portions never empties the buffer.
      if (state_->consumed == state_->buffered.size() || state_->consumed >= kBufferBytes) {
        state_->buffered.erase(
            state_->buffered.begin(),
            state_->buffered.begin() + static_cast<std::ptrdiff_t>(state_->consumed));
        state_->consumed = 0;
      }
      if (given == 0 && state_->failure) return *state_->failure;
    }
    if (given > 0) {
      position_ += given;
      request();
      return given;
    }
    return end_of_child();
  }

 private:
  void request() {
    boost::asio::post(loop_, [state = state_] { state->read_some(); });
  }

  /// Wait for bytes or the end. Only here does the time count: a pipe that nobody wants bytes from
  /// may stand still for as long as its consumer likes.
  Result<void> wait_for_bytes() SHARDREEL_REQUIRES(state_->mutex) {
    if (state_->buffered.size() > state_->consumed || state_->ended) return {};
    const WaitBound::Wait wait(bound_);
    const auto silent = WaitBound::Clock::now() + stall_timeout_;
    while (state_->buffered.size() == state_->consumed && !state_->ended) {
      if (!state_->changed.wait_until(state_->mutex, stop_, std::min(silent, wait.deadline()))) {
        return Error{ErrorCode::kStopped, "stopped while reading a pipe", {}, {}, {}};
      }
      if (state_->buffered.size() > state_->consumed || state_->ended) break;
      const auto now = WaitBound::Clock::now();
      if (now >= wait.deadline()) {
        return give_up(fmt::format("waiting for its bytes took {:.6g} s in all, the shard_timeout",
                                   seconds_of(bound_.most())));
      }
      if (now >= silent) {
        return give_up(fmt::format("no byte came for {:.6g} s, the stall_timeout",
                                   seconds_of(stall_timeout_)));
      }
    }
    return {};
  }

  /// The stream's end by a timeout; what comes later is not taken any more.
  Error give_up(const std::string& why) SHARDREEL_REQUIRES(state_->mutex) {
    state_->ended = true;
    state_->failure = Error{
        ErrorCode::kIo,
        fmt::format("reading {} at byte {}: {}",
                    child_.command.empty() ? "standard input"
                                           : fmt::format("from the command '{}'", child_.command),
                    position_, why),
        {},
        {},
        position_};
    return *state_->failure;
  }

  /// The output is over, so its supervisor ended or is about to: the command's status decides
  /// whether that was a good end.
  Result<std::size_t> end_of_child() {
    if (child_.pid <= 0) return std::size_t{0};
    int status = 0;
    while (waitpid(child_.pid, &status, 0) < 0) {
      if (errno != EINTR) return system_error("waiting for the command of a pipe", errno);
    }
    child_.pid = 0;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : kSignalStatus + WTERMSIG(status);
    if (!child_.check_status || code == 0) return std::size_t{0};
    return Error{
        ErrorCode::kPipeFailed,
        fmt::format("the command '{}' ended with status {}{}, expected 0", child_.command, code,
                    code > kSignalStatus
                        ? fmt::format(" (killed by signal {})", code - kSignalStatus)
                        : std::string()),
        {},
        {},
        {}};
  }

  boost::asio::io_context& loop_;
  std::shared_ptr<PipeState> state_;  // shared with the handler in flight
  Child child_;                       // its pid is 0 when it was waited for
  const std::chrono::milliseconds stall_timeout_;
  WaitBound bound_;
  std::stop_token stop_;
  std::uint64_t position_ = 0;  // bytes given
};

}  // namespace

Result<std::unique_ptr<ByteStream>> open_pipe(boost::asio::io_context& loop,
                                              const std::string& command, bool check_status,
                                              const PipeTimeouts& timeouts,
                                              const std::stop_token& stop) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("making a pipe", errno);
  UniqueFd output(ends[0]);
  const UniqueFd written(ends[1]);
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("making a pipe", errno);
  const UniqueFd watched(ends[0]);
  UniqueFd lifeline(ends[1]);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, written.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, watched.get(), STDIN_FILENO);
  // Undo what the program around us may have set: a shell expects default signals.
  sigset_t none;
  sigset_t defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int number : {SIGPIPE, SIGINT, SIGTERM}) sigaddset(&defaults, number);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string shell = "/bin/sh";
  std::string flag = "-c";
  std::string script = kSupervisor;
  std::string text = command;
  std::array<char*, 6> argv{shell.data(), flag.data(), script.data(),
                            shell.data(), text.data(), nullptr};
  pid_t child = 0;
  const int failed =
      posix_spawn(&child, shell.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return system_error("starting /bin/sh for '" + command + "'", failed);
  return std::unique_ptr<ByteStream>(std::make_unique<PipeStream>(
      loop, output.release(), PipeStream::Child{child, std::move(lifeline), command, check_status},
      timeouts, stop));
}

Result<std::unique_ptr<ByteStream>> open_stdin(boost::asio::io_context& loop,
                                               const PipeTimeouts& timeouts,
                                               const std::stop_token& stop) {
  struct stat facts {};
  if (fstat(STDIN_FILENO, &facts) != 0) return system_error("standard input", errno);
  // Redirected from a file: the event loop cannot watch regular files, and need not.
  if (S_ISREG(facts.st_mode)) return open_file("/dev/stdin");
  const int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return system_error("standard input", errno);
  return std::unique_ptr<ByteStream>(
      std::make_unique<PipeStream>(loop, fd, PipeStream::Child(), timeouts, stop));
}

}  // namespace shardreel
