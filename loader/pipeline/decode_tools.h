#pragma once
// What decode threads work with: the CPU's tools, or those of a GPU as well.

#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "loader/decode/placement.h"
#include "loader/decode/video_decoder.h"
#include "loader/media/frame_converter.h"
#include "loader/pipeline/counters.h"
#include "loader/pipeline/lane_device.h"
#include "shardreel/metrics.h"
#include "shardreel/options.h"

namespace shardreel {

/// One thread's.
struct DecodeTools {
  std::unique_ptr<VideoDecoder> decoder;
  std::unique_ptr<FrameConverter> converter;
  /// The one that decoder and converter may use, besides the host: clips of its lanes can stay
  /// there.
  std::shared_ptr<Device> device = nullptr;
};

/// Makes the tools of every thread, and outlives them; keeps what they share of devices.
/// Thread-safe.
class DecodeToolbox {
 public:
  virtual ~DecodeToolbox() = default;
  /// Never fails: a thread that cannot have a GPU's tools has the CPU's.
  virtual DecodeTools make(std::size_t thread) = 0;
  /// Fill in what became of devices' sessions.
  virtual void write_to(Metrics& /*metrics*/) const {}
};

/// What a toolbox is made from, borrowed from the loader.
struct ToolboxContext {
  const LoaderOptions& options;
  Counters& counters;
  std::vector<LaneDevice> gpus;                ///< to decode on; none = the CPU alone
  std::function<void(std::string_view)> warn;  ///< one line for the log
};

/// Add a device's to the rest.
void add_sessions(const Placement::Gauges& gauges, Metrics& metrics);

std::unique_ptr<DecodeToolbox> make_decode_toolbox(ToolboxContext context);

/// For tests: makes the toolboxes of loaders from now on; null = `make_decode_toolbox`.
using ToolboxMaker = std::function<std::unique_ptr<DecodeToolbox>(ToolboxContext)>;
void replace_decode_toolbox(ToolboxMaker maker);
/// What loaders use.
std::unique_ptr<DecodeToolbox> decode_toolbox(ToolboxContext context);

}  // namespace shardreel
