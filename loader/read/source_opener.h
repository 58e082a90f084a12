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

/// Opens files, `file:`, `-` and `pipe:COMMAND`. Outlives the streams it opened. Thread-safe.
class SourceOpener {
 public:
  /// Of the options, `integrity` (the status of a command counts) and `allow_pipe` matter.
  explicit SourceOpener(InputOptions options);
  SourceOpener(const SourceOpener&) = delete;
  SourceOpener& operator=(const SourceOpener&) = delete;
  ~SourceOpener();

  /// Open `url`. `stop` ends every later read of it with kStopped, and kills a command.
  Result<std::unique_ptr<ByteStream>> open(const std::string& url, const std::stop_token& stop);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace shardreel
