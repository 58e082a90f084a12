#include "loader/window/clip_cutter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "loader/base/stream_copy.h"
#include "loader/base/trace_range.h"

namespace shardreel {

namespace {

Orientation orientation_of(const StreamParameters& stream) {
  Orientation orientation{stream.quarter_turns, stream.mirror};
  if (stream.sample_aspect.num > 0) {
    orientation.pixel_width = static_cast<std::uint32_t>(stream.sample_aspect.num);
    orientation.pixel_height = static_cast<std::uint32_t>(stream.sample_aspect.den);
  }
  return orientation;
}

}  // namespace

struct ClipCutter::Making {
  bool begun = false;
  bool corrupt = false;
  ClipMemory memory;
  TransformDraws draws;
  FrameGeometry geometry;
  int frame_width = 0, frame_height = 0;  // that `geometry` is for
  std::vector<bool> written;
  std::uint32_t slots_written = 0;
  std::int64_t last_frame = 0;  // the latest one it needs
};

ClipCutter::ClipCutter(const Unit& unit, const ClipContext& context, FrameConverter& converter,
                       Begin begin, Emit emit)
    : unit_(unit),
      context_(context),
      converter_(converter),
      begin_(std::move(begin)),
      emit_(std::move(emit)),
      slot_bytes_(slot_bytes(context.options->transform)),
      orientation_(orientation_of(*unit.parameters)),
      making_(unit.windows.size()) {
  for (std::size_t i = 0; i < making_.size(); ++i) {
    const Window& window = unit.windows[i];
    ClipId id = context.id;
    id.window = window.ordinal;
    making_[i].draws = draw_transform(context.options->transform, context.options->batch.seed, id);
    making_[i].written.resize(window.frames.size());
    making_[i].last_frame = *std::max_element(window.frames.begin(), window.frames.end());
  }
}

ClipCutter::~ClipCutter() = default;

std::span<std::byte> ClipCutter::slot(Making& making, std::uint32_t index) const {
  return making.memory.block.bytes().subspan(index * slot_bytes_, slot_bytes_);
}

Result<void> ClipCutter::frame(const AVFrame& frame, const WantedFrame& wanted, bool corrupt) {
  finish_before(wanted.frame);
  converted_ = {};
  for (const SlotRef& ref : wanted.slots) {
    // Timestamps can lie about the order of display: the frame comes too late for a clip that was
    // given up, and its memory is gone.
    if (ref.clip < next_) continue;
    Making& making = making_[ref.clip];
    // A frame that failed for one clip comes again for all of them.
    if (making.written[ref.slot]) continue;
    making.corrupt = making.corrupt || corrupt;
    if (!making.begun) {
      auto memory = begin_(frame);
      if (!memory) return memory.error();
      making.memory = std::move(*memory);
      making.begun = true;
    }
    if (auto written = write_slot(frame, making, ref.slot); !written) return written;
    making.written[ref.slot] = true;
    ++making.slots_written;
  }
  // Complete clips leave in their order: an earlier one that still waits for frames holds them back
  // only until a later frame shows that those will not come.
  while (next_ < making_.size() && making_[next_].slots_written == making_[next_].written.size()) {
    close(next_, std::nullopt);
  }
  return {};
}

Result<void> ClipCutter::write_slot(const AVFrame& frame, Making& making, std::uint32_t index) {
  if (making.frame_width != frame.width || making.frame_height != frame.height) {
    making.geometry = frame_geometry(static_cast<std::uint32_t>(frame.width),
                                     static_cast<std::uint32_t>(frame.height), orientation_,
                                     context_.options->transform, making.draws);
    making.frame_width = frame.width;
    making.frame_height = frame.height;
  }
  const TraceRange range("convert");
  if (making.memory.on_device) {
    if (converter_.is_on_device(frame)) {
      auto done = converter_.convert_there(frame, making.geometry,
                                           making.memory.on_device->data() + index * slot_bytes_);
      if (done) ++frames_written_;
      return done;
    }
    if (auto down = bring_down(making); !down) return down;
  }
  const std::span<std::byte> into = slot(making, index);
  if (!converted_.empty() && converted_geometry_ == making.geometry && !converter_.writes_later()) {
    stream_copy(into.data(), converted_.data(), into.size());
  } else {
    if (auto done = converter_.convert(frame, making.geometry, into); !done) return done;
    converted_geometry_ = making.geometry;
  }
  converted_ = into;
  ++frames_written_;
  return {};
}

/// The host writes the rest of a clip that a device began.
Result<void> ClipCutter::bring_down(Making& making) {
  if (auto settled = converter_.finish(); !settled) return settled;
  auto block = making.memory.on_device->take_down();
  making.memory.on_device.reset();
  if (!block) return block.error();
  making.memory.block = std::move(*block);
  return {};
}

void ClipCutter::finish_before(std::int64_t frame) {
  while (next_ < making_.size() && making_[next_].last_frame < frame) close(next_, std::nullopt);
}

void ClipCutter::finish(const std::optional<Error>& cause) {
  while (next_ < making_.size()) close(next_, cause);
}

/// Fill slots whose frames did not come from those that did, and say so in the clip's facts.
void ClipCutter::pad(Making& making, ClipInfo& info) const {
  std::vector<std::uint32_t> have;
  for (std::uint32_t i = 0; i < making.written.size(); ++i) {
    if (making.written[i]) have.push_back(i);
  }
  std::uint32_t last = have.front();
  for (std::uint32_t i = 0; i < making.written.size(); ++i) {
    if (making.written[i]) {
      last = i;
      continue;
    }
    const bool loop = context_.options->window.short_policy == ShortPolicy::kLoop;
    const std::uint32_t from = loop ? have[i % have.size()] : last;
    const auto source = slot(making, from);
    std::memcpy(slot(making, i).data(), source.data(), source.size());
    info.frame_index[i] = info.frame_index[from];
    info.pts_seconds[i] = info.pts_seconds[from];
  }
}

void ClipCutter::close(std::size_t clip, const std::optional<Error>& why) {
  const std::optional<Error>& cause = refused_ ? refused_ : why;
  Making& making = making_[clip];
  const Window& window = unit_.windows[clip];
  ClipResult result;
  const auto lose = [&](ErrorCode code, std::string message) {
    result.lost = Error{code, std::move(message), context_.sample->shard, context_.sample->key, {}};
  };

  // Slots that a device writes are written by then.
  Result<void> settled = converter_.finish();
  const bool complete = making.slots_written == making.written.size();
  // What is missing is filled in here.
  if (settled && !complete && making.slots_written > 0 && making.memory.on_device)
    settled = bring_down(making);
  const bool keeps_corrupt = context_.options->input.integrity == Integrity::kCompat;
  const bool may_pad = context_.options->window.short_policy != ShortPolicy::kDrop;
  if (!settled && making.slots_written > 0) {
    result.lost = settled.error();
  } else if (cause && !complete && cause->code != ErrorCode::kDecodeError) {
    result.lost = *cause;
    result.lost->at(context_.sample->shard, context_.sample->key);
  } else if (making.corrupt && !keeps_corrupt) {
    lose(ErrorCode::kDecodeError,
         fmt::format("window {}: the decoder flagged a frame as corrupt{}", window.ordinal,
                     cause ? " (" + cause->message + ")" : ""));
  } else if (!complete && (making.slots_written == 0 || !may_pad)) {
    lose(ErrorCode::kIncompleteWindow,
         fmt::format("window {}: {} of {} frames came out of the decoder{}", window.ordinal,
                     making.slots_written, making.written.size(),
                     cause ? " (" + cause->message + ")" : ""));
  } else {
    Clip made;
    made.info.id = context_.id;
    made.info.id.window = window.ordinal;
    made.info.sample = context_.sample;
    made.info.frame_index = window.frames;
    made.info.pts_seconds = unit_.pts_seconds[clip];
    made.info.corrupt = making.corrupt;
    if (!complete) {
      pad(making, made.info);
      result.padded = true;
    }
    made.pixels = std::move(making.memory.block);
    made.on_device = std::move(making.memory.on_device);
    if (made.on_device) made.on_device->made();
    made.reservation = std::move(making.memory.reservation);
    result.clip = std::move(made);
  }
  making.memory.block = {};  // before its reservation
  making.memory.on_device.reset();
  making.memory.reservation.release();
  next_ = clip + 1;
  emit_(clip, std::move(result));
}

}  // namespace shardreel
