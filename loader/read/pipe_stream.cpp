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

extern char** environ;

namespace shardreel {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{256} << 10;

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
  PipeStream(boost::asio::io_context& loop, int fd, pid_t child, std::string command,
             bool check_status, const std::stop_token& stop)
      : loop_(loop),
        state_(std::make_shared<PipeState>(loop, fd)),
        child_(child),
        command_(std::move(command)),
        check_status_(check_status),
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
    if (child_ > 0) {
      // The group, not the child alone: a shell's children would live on and keep the pipe open.
      kill(-child_, SIGKILL);
      while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
  }

  Result<std::size_t> read(std::span<std::byte> into) override {
    std::size_t given = 0;
    {
      const MutexLock lock(state_->mutex);
      while (state_->buffered.size() == state_->consumed && !state_->ended) {
        if (!state_->changed.wait(state_->mutex, stop_)) {
          return Error{ErrorCode::kStopped, "stopped while reading a pipe", {}, {}, {}};
        }
      }
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
      request();
      return given;
    }
    return end_of_child();
  }

 private:
  void request() {
    boost::asio::post(loop_, [state = state_] { state->read_some(); });
  }

  /// The output is over: the command's status decides whether that was a good end.
  Result<std::size_t> end_of_child() {
    if (child_ <= 0) return std::size_t{0};
    int status = 0;
    // A command may close its output and live on: look again until it ends or we are stopped.
    for (pid_t ended = 0; ended == 0;) {
      ended = waitpid(child_, &status, WNOHANG);
      if (ended < 0 && errno != EINTR) {
        return system_error("waiting for the command of a pipe", errno);
      }
      if (ended <= 0) {
        const MutexLock lock(state_->mutex);
        if (!state_->changed.wait_for(state_->mutex, stop_, std::chrono::milliseconds(5))) {
          return Error{ErrorCode::kStopped, "stopped while reading a pipe", {}, {}, {}};
        }
        ended = 0;
      }
    }
    child_ = 0;
    if (!check_status_ || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return std::size_t{0};
    return Error{
        ErrorCode::kPipeFailed,
        WIFEXITED(status)
            ? fmt::format("the command '{}' ended with status {}, expected 0", command_,
                          WEXITSTATUS(status))
            : fmt::format("the command '{}' was killed by signal {}", command_, WTERMSIG(status)),
        {},
        {},
        {}};
  }

  boost::asio::io_context& loop_;
  std::shared_ptr<PipeState> state_;  // shared with the handler in flight
  pid_t child_;                       // 0 = none, or already waited for
  std::string command_;
  bool check_status_;
  std::stop_token stop_;
};

}  // namespace

Result<std::unique_ptr<ByteStream>> open_pipe(boost::asio::io_context& loop,
                                              const std::string& command, bool check_status,
                                              const std::stop_token& stop) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("making a pipe", errno);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
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
  std::string text = command;
  std::array<char*, 4> argv{shell.data(), flag.data(), text.data(), nullptr};
  pid_t child = 0;
  const int failed =
      posix_spawn(&child, shell.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (failed != 0) {
    close(ends[0]);
    return system_error("starting /bin/sh for '" + command + "'", failed);
  }
  return std::unique_ptr<ByteStream>(
      std::make_unique<PipeStream>(loop, ends[0], child, command, check_status, stop));
}

Result<std::unique_ptr<ByteStream>> open_stdin(boost::asio::io_context& loop,
                                               const std::stop_token& stop) {
  struct stat facts {};
  if (fstat(STDIN_FILENO, &facts) != 0) return system_error("standard input", errno);
  // Redirected from a file: the event loop cannot watch regular files, and need not.
  if (S_ISREG(facts.st_mode)) return open_file("/dev/stdin");
  const int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return system_error("standard input", errno);
  return std::unique_ptr<ByteStream>(
      std::make_unique<PipeStream>(loop, fd, 0, std::string(), false, stop));
}

}  // namespace shardreel
