#include "loader/decode/placed_decoder.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

namespace shardreel {
namespace {

/// Passes on each wanted frame once, however often it is decoded.
class OnceSink final : public FrameSink {
 public:
  OnceSink(FrameSink& sink, const Unit& unit)
      : sink_(sink), unit_(unit), given_(unit.wanted.size()) {}

  /// Called before a frame is passed on.
  std::function<Result<void>()> before;

  Result<void> frame(const AVFrame& frame, const WantedFrame& wanted, bool corrupt) override {
    if (before) {
      if (auto done = before(); !done) return done;
    }
    const auto at = static_cast<std::size_t>(&wanted - unit_.wanted.data());
    if (given_[at]) return {};
    auto taken = sink_.frame(frame, wanted, corrupt);
    given_[at] = taken.has_value();
    return taken;
  }
  [[nodiscard]] std::uint64_t given() const {
    return static_cast<std::uint64_t>(std::ranges::count(given_, true));
  }

 private:
  FrameSink& sink_;
  const Unit& unit_;
  std::vector<bool> given_;
};

class PlacedDecoder final : public VideoDecoder {
 public:
  PlacedDecoder(Placement& placement, DeviceWay device, std::unique_ptr<VideoDecoder> cpu,
                bool only_device, OnPlaced on_placed)
      : placement_(placement),
        device_(std::move(device)),
        cpu_(std::move(cpu)),
        only_device_(only_device),
        on_placed_(std::move(on_placed)) {}

  Result<DecodeReport> decode(Unit& unit, FrameSink& sink, const std::stop_token& stop) override {
    const std::size_t clips = unit.windows.size();
    OnceSink once(sink, unit);
    Admission admission = placement_.admit(*unit.parameters);
    DecodePath path = admission.otherwise;
    if (admission.session) {
      auto report = try_device(std::move(*admission.session), unit, once, stop, path);
      if (path == DecodePath::kDevice) {
        if (report) on_placed_(path, clips);
        return report;
      }
      if (auto again = unit.packets->rewind(); !again) return again.error();
    }
    if (only_device_ && path == DecodePath::kCpuRefusedKind) {
      return Error{.code = ErrorCode::kUnsupported,
                   .message = "decode = cuda, and the GPU's decoder does not take this video"};
    }
    auto report = cpu_->decode(unit, once, stop);
    if (report) {
      report->frames_wanted = once.given();
      on_placed_(path, clips);
    }
    return report;
  }

  [[nodiscard]] std::uint64_t peak_frame_bytes() const noexcept override {
    return cpu_->peak_frame_bytes();
  }
  void trim() noexcept override { cpu_->trim(); }

 private:
  /// `path` is kDevice when there is nothing left for the CPU to do.
  Result<DecodeReport> try_device(DeviceSession session, Unit& unit, OnceSink& once,
                                  const std::stop_token& stop, DecodePath& path) {
    auto report = decode_there(session, unit, once, stop);
    // Somebody was faster with the memory. What lies idle goes for a second try; there is no third.
    if (!report && report.error().code == ErrorCode::kMemory && session.make_room()) {
      if (auto again = unit.packets->rewind(); !again) return again.error();
      report = decode_there(session, unit, once, stop);
    }
    path = DecodePath::kDevice;
    if (report) {
      session.worked(report->sessions_made);
      // Where frames are missing their clips are not finished, and may hold some of the session's.
      if (report->frames_wanted == unit.wanted.size()) session.keep();
    } else if (report.error().code == ErrorCode::kUnsupported) {
      session.refused_kind();
      path = DecodePath::kCpuRefusedKind;
    } else if (report.error().code == ErrorCode::kMemory) {
      session.out_of_memory();
      path = DecodePath::kCpuNoMemory;
    } else if (report.error().code != ErrorCode::kStopped) {
      path = DecodePath::kCpuAfterError;
    }
    return report;
  }

  Result<DecodeReport> decode_there(DeviceSession& session, Unit& unit, OnceSink& once,
                                    const std::stop_token& stop) {
    SessionDecoder& there = session.decoder();
    if (!there.decoder) {
      auto made = device_.make();
      if (!made) return made.error();
      there = std::move(*made);
    }
    bool first = true;
    once.before = [&]() -> Result<void> {
      if (std::exchange(first, false)) session.allocated();
      if (there.stream == device_.reads) return {};
      // Another thread made the session: its frames are written in that one's order.
      if (auto done = device_.ready->record(*there.stream); !done) return done;
      return device_.reads->wait(*device_.ready);
    };
    auto report = there.decoder->decode(unit, once, stop);
    once.before = nullptr;
    return report;
  }

  Placement& placement_;
  const DeviceWay device_;
  const std::unique_ptr<VideoDecoder> cpu_;
  const bool only_device_;
  const OnPlaced on_placed_;
};

}  // namespace

std::unique_ptr<VideoDecoder> make_placed_decoder(Placement& placement, DeviceWay device,
                                                  std::unique_ptr<VideoDecoder> cpu,
                                                  bool only_device, OnPlaced on_placed) {
  return std::make_unique<PlacedDecoder>(placement, std::move(device), std::move(cpu), only_device,
                                         std::move(on_placed));
}

}  // namespace shardreel
