#include "loader/decode/placed_decoder.h"

#include <fmt/format.h>

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

  Result<void> frame(const AVFrame& frame, const WantedFrame& wanted, bool corrupt) override {
    const auto at = static_cast<std::size_t>(&wanted - unit_.wanted.data());
    if (given_[at]) return {};
    auto taken = sink_.frame(frame, wanted, corrupt);
    given_[at] = taken.has_value();
    return taken;
  }
  void refused(const Error& why) override { sink_.refused(why); }
  [[nodiscard]] std::uint64_t given() const {
    return static_cast<std::uint64_t>(std::ranges::count(given_, true));
  }

 private:
  FrameSink& sink_;
  const Unit& unit_;
  std::vector<bool> given_;
};

/// What is to be done with each frame; what is refused `of` hears, where it is given.
class CallSink final : public FrameSink {
 public:
  using Call = std::function<Result<void>(const AVFrame&, const WantedFrame&, bool corrupt)>;
  explicit CallSink(Call call, FrameSink* of = nullptr) : call_(std::move(call)), of_(of) {}
  Result<void> frame(const AVFrame& frame, const WantedFrame& wanted, bool corrupt) override {
    return call_(frame, wanted, corrupt);
  }
  void refused(const Error& why) override {
    if (of_ != nullptr) of_->refused(why);
  }

 private:
  const Call call_;
  FrameSink* const of_;
};

class PlacedDecoder final : public VideoDecoder {
 public:
  PlacedDecoder(Placement& placement, DeviceWay device, std::unique_ptr<VideoDecoder> cpu,
                PlacedRules rules)
      : placement_(placement),
        device_(std::move(device)),
        cpu_(std::move(cpu)),
        rules_(std::move(rules)) {}

  Result<DecodeReport> decode(Unit& unit, FrameSink& sink, const std::stop_token& stop) override {
    OnceSink once(sink, unit);
    Admission admission = placement_.admit(*unit.parameters);
    DecodePath path = admission.otherwise;
    if (admission.session && admission.session->is_first() && rules_.proof)
      return prove(std::move(*admission.session), unit, once, stop);
    if (admission.session) {
      auto report = try_device(*admission.session, unit, once, stop, path);
      if (path == DecodePath::kDevice) {
        if (report) {
          admission.session->worked(report->sessions_made);
          // Where frames are missing their clips are not finished, and may hold some of the
          // session's.
          if (report->frames_wanted == unit.wanted.size()) admission.session->keep();
          rules_.placed(path, unit.windows.size());
        }
        return report;
      }
      admission.session.reset();
      if (auto again = unit.packets->rewind(); !again) return again.error();
    }
    if (rules_.only_device && path == DecodePath::kCpuRefusedKind) {
      return Error{.code = ErrorCode::kUnsupported,
                   .message = "decode = cuda, and the GPU's decoder does not take this video"};
    }
    return decode_here(unit, once, once, stop, path);
  }

  [[nodiscard]] std::uint64_t peak_frame_bytes() const noexcept override {
    return cpu_->peak_frame_bytes();
  }
  void trim() noexcept override { cpu_->trim(); }

 private:
  Result<DecodeReport> decode_here(Unit& unit, FrameSink& sink, const OnceSink& once,
                                   const std::stop_token& stop, DecodePath path) {
    const GovernorTime began = governor_now();
    auto report = cpu_->decode(unit, sink, stop);
    if (report) {
      note(unit, *report, began, false);
      report->frames_wanted = once.given();
      rules_.placed(path, unit.windows.size());
    }
    return report;
  }

  /// `path` is kDevice when there is nothing left for the CPU to do; else the session is of no more
  /// use.
  Result<DecodeReport> try_device(DeviceSession& session, Unit& unit, FrameSink& sink,
                                  const std::stop_token& stop, DecodePath& path) {
    auto report = decode_there(session, unit, sink, stop);
    // Somebody was faster with the memory. What lies idle goes for a second try; there is no third.
    if (!report && report.error().code == ErrorCode::kMemory && session.make_room()) {
      if (auto again = unit.packets->rewind(); !again) return again.error();
      report = decode_there(session, unit, sink, stop);
    }
    path = DecodePath::kDevice;
    if (report) return report;
    if (report.error().code == ErrorCode::kUnsupported) {
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

  Result<DecodeReport> decode_there(DeviceSession& session, Unit& unit, FrameSink& sink,
                                    const std::stop_token& stop) {
    SessionDecoder& there = session.decoder();
    if (!there.decoder) {
      auto made = device_.make();
      if (!made) return made.error();
      there = std::move(*made);
    }
    const GovernorTime began = governor_now();
    bool first = true;
    CallSink ready([&](const AVFrame& frame, const WantedFrame& wanted, bool corrupt) {
      if (std::exchange(first, false)) session.allocated(seconds_since(began));
      // Another thread may have made the session: its frames are written in that one's order.
      if (there.stream != device_.reads) {
        if (auto done = device_.ready->record(*there.stream); !done) return done;
        if (auto done = device_.reads->wait(*device_.ready); !done) return done;
      }
      return sink.frame(frame, wanted, corrupt);
    });
    auto report = there.decoder->decode(unit, ready, stop);
    if (report) note(unit, *report, began, true);
    return report;
  }

  static double seconds_since(GovernorTime began) {
    return std::chrono::duration<double>(governor_now() - began).count();
  }
  void note(const Unit& unit, const DecodeReport& report, GovernorTime began, bool on_device) {
    const AVCodecParameters& codec = *unit.parameters->codec;
    const double pixels = static_cast<double>(codec.width) * codec.height *
                          static_cast<double>(report.frames_decoded);
    placement_.decoded({on_device, pixels * 1e-6, seconds_since(began)});
  }

  /// The clips are the CPU's; the device decodes besides, and is judged by them.
  Result<DecodeReport> prove(DeviceSession session, Unit& unit, OnceSink& once,
                             const std::stop_token& stop) {
    PixelProof& proof = *rules_.proof;
    proof.begin(*unit.parameters);
    DecodePath path = DecodePath::kDevice;
    CallSink there([&](const AVFrame& frame, const WantedFrame& wanted, bool) {
      return proof.device_frame(frame, wanted);
    });
    const auto shown = try_device(session, unit, there, stop, path);
    if (!shown && path == DecodePath::kDevice) return shown.error();  // stopped
    const Result<void> done = proof.device_done();
    const bool comparable = shown && done;
    if (path == DecodePath::kDevice) path = DecodePath::kCpuUnproven;
    if (auto again = unit.packets->rewind(); !again) return again.error();
    const auto compare = [&](const AVFrame& frame, const WantedFrame& wanted, bool corrupt) {
      if (comparable) {
        if (auto compared = proof.cpu_frame(frame, wanted); !compared) return compared;
      }
      return once.frame(frame, wanted, corrupt);
    };
    CallSink here(compare, &once);
    auto report = decode_here(unit, here, once, stop, path);
    // A damaged video proves nothing, nor does one that was not decoded to its end.
    if (!comparable || !report || report->errors > 0) return report;
    if (const auto differs = proof.difference()) {
      session.differs();
      rules_.warn(fmt::format("the CPU decodes {}: a GPU's decoder does not show the same, {}",
                              session.kind(), *differs));
    } else {
      session.worked(shown->sessions_made);
      session.keep();
    }
    return report;
  }

  Placement& placement_;
  const DeviceWay device_;
  const std::unique_ptr<VideoDecoder> cpu_;
  const PlacedRules rules_;
};

}  // namespace

std::unique_ptr<VideoDecoder> make_placed_decoder(Placement& placement, DeviceWay device,
                                                  std::unique_ptr<VideoDecoder> cpu,
                                                  PlacedRules rules) {
  return std::make_unique<PlacedDecoder>(placement, std::move(device), std::move(cpu),
                                         std::move(rules));
}

}  // namespace shardreel
