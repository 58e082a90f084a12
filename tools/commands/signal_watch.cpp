#include "tools/commands/signal_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

namespace shardreel::tools {
namespace {

// A signal handler has nothing but globals; it writes the signal's number here.
std::atomic<int> signal_pipe = -1;
static_assert(std::atomic<int>::is_always_lock_free);

constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};

extern "C" void note_signal(int number) {
  const int saved_errno = errno;
  const auto byte = static_cast<unsigned char>(number);
  // A full pipe means that signals wait to be read already.
  [[maybe_unused]] const auto written = write(signal_pipe.load(), &byte, 1);
  errno = saved_errno;
}

void handle(void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  for (const int number : kSignals) sigaction(number, &action, nullptr);
}

}  // namespace

SignalWatch::SignalWatch() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    throw std::system_error(errno, std::generic_category(), "making a pipe for signals");
  read_end_ = ends[0];
  signal_pipe = ends[1];
  thread_ = std::thread([this] { wait(); });
  // Back to the default after the first one of a kind: a second Ctrl-C ends a program that hangs.
  handle(note_signal, SA_RESTART | static_cast<int>(SA_RESETHAND));
}

SignalWatch::~SignalWatch() {
  handle(SIG_DFL, 0);
  close(signal_pipe.exchange(-1));  // the thread reads the end of the pipe and returns
  thread_.join();
  close(read_end_);
}

void SignalWatch::on_signal(std::function<void()> action) {
  const std::lock_guard lock(mutex_);
  action_ = std::move(action);
  if (received_ != 0 && action_) action_();
}

int SignalWatch::received() const {
  const std::lock_guard lock(mutex_);
  return received_;
}

void SignalWatch::wait() {
  for (;;) {
    unsigned char number = 0;
    const auto got = read(read_end_, &number, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got != 1) return;
    const std::lock_guard lock(mutex_);
    if (std::exchange(received_, number) == 0 && action_) action_();
  }
}

}  // namespace shardreel::tools
