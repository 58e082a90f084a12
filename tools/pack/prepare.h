#pragma once
// A listed sample made ready to be written: opened, checked, and changed where that was asked for.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"
#include "shardreel/shard_writer.h"
#include "tools/pack/check.h"
#include "tools/pack/inputs.h"
#include "tools/pack/tally.h"
#include "tools/pack/transcode_spec.h"

namespace shardreel::tools {

struct PrepareOptions {
  CheckLevel check = CheckLevel::kOpen;
  std::optional<TranscodeSpec> transcode;
  double segment_seconds = 0;  ///< 0 = whole videos
  std::string spool_dir;       ///< of transcoded and segmented videos; empty = $TMPDIR, else /tmp
};

struct PreparedSample {
  std::string key;
  std::vector<FieldToWrite> fields;
  std::optional<VideoSummary> video;  ///< nothing when it was not looked at
  std::uint64_t payload_bytes = 0;
};

/// What became of one listed sample: what it is refused for, or the samples it gives (several where
/// it is cut into segments).
struct Prepared {
  std::optional<Error> refused;  ///< kStopped when asked to stop
  bool fatal = false;            ///< `refused` is no fault of the sample: the spool is full
  std::vector<PreparedSample> samples;
  TranscodeGain gain;
};

/// Make one sample ready on the calling thread. Its files stay open as long as the result; what is
/// packed is what was checked, even where a file is replaced meanwhile. Reading the fields ends
/// with kStopped once `stop` asks. Never throws.
Prepared prepare(const PackItem& item, const PrepareOptions& options, const std::stop_token& stop);

}  // namespace shardreel::tools
