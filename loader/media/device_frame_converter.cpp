#include "loader/media/device_frame_converter.h"

#include <cstring>
#include <list>
#include <utility>
#include <vector>

#include "loader/base/stream_copy.h"
#include "loader/media/av_handles.h"
#include "loader/media/pixel_plan.h"

namespace shardreel {
namespace {

// Decoders have few surfaces: a frame goes back as soon as its conversion was done, and no more
// than so many wait for that.
constexpr std::size_t kMostHeldFrames = 4;
// Each clip may have a crop of its own; their filters are a few kilobytes.
constexpr std::size_t kMostPlans = 8;
constexpr std::size_t kTableBytes = std::size_t{64} << 10;

TransformOptions of_slots(TransformOptions options) {
  options.dtype = DType::kUint8;  // what clips are made of; collating does the rest
  options.layout = Layout::kThwc;
  return options;
}

class DeviceFrameConverter final : public FrameConverter {
 public:
  DeviceFrameConverter(std::shared_ptr<Device> device, std::shared_ptr<Stream> stream,
                       DeviceFrameLayout layout, const TransformOptions& options,
                       DeviceBuffer scratch, std::unique_ptr<PinnedBuffer> pinned)
      : device_(std::move(device)),
        stream_(std::move(stream)),
        layout_(std::move(layout)),
        options_(of_slots(options)),
        slot_bytes_(slot_bytes(options)),
        host_(make_frame_converter(options)),
        scratch_(std::move(scratch)),
        pinned_(std::move(pinned)) {}
  DeviceFrameConverter(const DeviceFrameConverter&) = delete;
  DeviceFrameConverter& operator=(const DeviceFrameConverter&) = delete;
  ~DeviceFrameConverter() override {
    // What is still in line reads frames and tables.
    static_cast<void>(stream_->synchronize());
  }

  Result<void> convert(const AVFrame& frame, const FrameGeometry& geometry,
                       std::span<std::byte> slot) override {
    if (!is_on_device(frame)) return host_->convert(frame, geometry, slot);
    if ((waiting_.size() + 1) * slot_bytes_ > scratch_.bytes()) {
      if (auto done = finish(); !done) return done;
    }
    auto* into = static_cast<std::byte*>(scratch_.data()) + waiting_.size() * slot_bytes_;
    auto done = put_in_line(frame, geometry, into);
    if (done) waiting_.push_back(slot);
    return done;
  }

  [[nodiscard]] bool is_on_device(const AVFrame& frame) const override {
    return layout_(frame).has_value();
  }

  Result<void> convert_there(const AVFrame& frame, const FrameGeometry& geometry,
                             std::byte* slot) override {
    writes_there_ = true;
    return put_in_line(frame, geometry, slot);
  }

  [[nodiscard]] bool writes_later() const noexcept override { return !waiting_.empty(); }

  Result<void> finish() override {
    if (waiting_.empty() && !writes_there_) return {};
    if (failed_) return *failed_;
    writes_there_ = false;
    Result<void> done;
    if (!waiting_.empty())
      done = stream_->copy(pinned_->data(), scratch_.data(), waiting_.size() * slot_bytes_);
    if (done) done = give_frames_back();
    const std::vector<std::span<std::byte>> slots = std::exchange(waiting_, {});
    if (!done) {
      failed_ = done.error();  // nothing that is still to come from there can be trusted
      return done;
    }
    for (std::size_t i = 0; i < slots.size(); ++i)
      stream_copy(slots[i].data(), pinned_->data() + i * slot_bytes_, slot_bytes_);
    return {};
  }

  [[nodiscard]] std::uint64_t scratch_bytes() const noexcept override {
    return host_->scratch_bytes() + pinned_->bytes();
  }

 private:
  struct Plan {
    int width, height;
    const AVPixFmtDescriptor* format;
    ColorTags tags;
    FrameGeometry geometry;
    PixelPlan plan;
    DeviceBuffer tables;
    std::unique_ptr<PinnedBuffer> upload;
  };

  Result<void> put_in_line(const AVFrame& frame, const FrameGeometry& geometry, std::byte* into) {
    if (failed_) return *failed_;
    auto plan = plan_for(frame, *layout_(frame), geometry);
    if (!plan) return plan.error();
    AVFramePtr held(av_frame_clone(&frame));
    if (!held) return device_error(DeviceFault::kOutOfMemory, "holding a frame");
    held_.push_back(std::move(held));
    const auto* tables = static_cast<const std::byte*>((*plan)->tables.data());
    for (const PixelJob& job : (*plan)->plan.jobs(frame, tables, nullptr, {into, 0, 1})) {
      if (auto done = stream_->convert(job); !done) return done;
    }
    return held_.size() < kMostHeldFrames ? Result<void>() : give_frames_back();
  }

  Result<void> give_frames_back() {
    auto done = stream_->synchronize();
    held_.clear();
    return done;
  }

  Result<const Plan*> plan_for(const AVFrame& frame, const PixelLayout& layout,
                               const FrameGeometry& geometry) {
    const ColorTags tags = color_tags(frame, layout);
    for (auto at = plans_.begin(); at != plans_.end(); ++at) {
      if (at->width != frame.width || at->height != frame.height ||
          at->format != layout.descriptor || !(at->tags == tags) || !(at->geometry == geometry))
        continue;
      plans_.splice(plans_.begin(), plans_, at);
      return &plans_.front();
    }
    auto made = PixelPlan::make(frame, layout, geometry, options_);
    if (!made) return made.error();
    const std::span<const std::byte> tables = made->tables();
    auto upload = device_->allocate_pinned(std::max(tables.size(), std::size_t{1}));
    if (!upload) return upload.error();
    auto there = device_->allocate(std::max(tables.size(), std::size_t{1}), stream_);
    if (!there) return there.error();
    std::memcpy((*upload)->data(), tables.data(), tables.size());
    if (auto done = stream_->copy(there->data(), (*upload)->data(), tables.size()); !done)
      return done.error();
    if (plans_.size() == kMostPlans) {
      if (auto done = stream_->synchronize(); !done) return done.error();  // its upload was read
      plans_.pop_back();
    }
    plans_.push_front({frame.width, frame.height, layout.descriptor, tags, geometry,
                       std::move(*made), std::move(*there), std::move(*upload)});
    return &plans_.front();
  }

  const std::shared_ptr<Device> device_;
  const std::shared_ptr<Stream> stream_;
  const DeviceFrameLayout layout_;
  const TransformOptions options_;
  const std::size_t slot_bytes_;
  const std::unique_ptr<FrameConverter> host_;
  const DeviceBuffer scratch_;
  const std::unique_ptr<PinnedBuffer> pinned_;
  std::list<Plan> plans_;  // the one used last first
  std::vector<std::span<std::byte>> waiting_;
  bool writes_there_ = false;  // slots on the device, since `finish`
  std::vector<AVFramePtr> held_;
  std::optional<Error> failed_;
};

}  // namespace

std::uint64_t device_converter_bytes(const TransformOptions& options, std::size_t slots) {
  return slot_bytes(options) * slots + kMostPlans * kTableBytes;
}

Result<std::unique_ptr<FrameConverter>> make_device_frame_converter(std::shared_ptr<Device> device,
                                                                    std::shared_ptr<Stream> stream,
                                                                    DeviceFrameLayout layout,
                                                                    const TransformOptions& options,
                                                                    std::size_t slots) {
  const std::uint64_t bytes = slot_bytes(options) * std::max<std::size_t>(slots, 1);
  auto scratch = device->allocate(bytes, stream);
  if (!scratch) return scratch.error();
  auto pinned = device->allocate_pinned(bytes);
  if (!pinned) return pinned.error();
  return std::unique_ptr<FrameConverter>(std::make_unique<DeviceFrameConverter>(
      std::move(device), std::move(stream), std::move(layout), options, std::move(*scratch),
      std::move(*pinned)));
}

}  // namespace shardreel
