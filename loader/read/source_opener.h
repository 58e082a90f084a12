#pragma once
// Sources by URL for programs that read shards one after the other: an event loop with its thread
// included.

#include <memory>
#include <stop_token>
#include <string>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"
#include "shardreel/options.h"

namespace shardreel {

/// Opens files, `file:`, `-`, `pipe:COMMAND` and shards over the network. What it opened, and the
/// contents of samples read from there, keep its loop running as long as they live. Thread-safe.
class SourceOpener {
 public:
  /// Of the options, `integrity` (the status of a command counts), `allow_pipe` and those of the
  /// network matter.
  explicit SourceOpener(InputOptions options);
  SourceOpener(const SourceOpener&) = delete;
  SourceOpener& operator=(const SourceOpener&) = delete;
  ~SourceOpener();

  /// Open `url`. `stop` ends every later read of it with kStopped, and kills a command.
  Result<std::unique_ptr<ByteStream>> open(const std::string& url, const std::stop_token& stop);

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with what was opened
};

}  // namespace shardreel
