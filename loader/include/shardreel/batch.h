#pragma once
// What the consumer gets: B clips side by side in one block of memory, and what is known of each.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <shardreel/error.h>
#include <shardreel/options.h>
#include <shardreel/sample.h>

namespace shardreel {

/// The identity of a clip: what every keyed random choice depends on, together with the seed.
struct ClipId {
  std::uint64_t epoch = 0;
  std::uint64_t shard = 0;   ///< number in the expanded list
  std::uint64_t sample = 0;  ///< ordinal in the shard
  std::uint64_t window = 0;  ///< ordinal in the video
  friend bool operator==(const ClipId&, const ClipId&) = default;
  friend auto operator<=>(const ClipId&, const ClipId&) = default;
};

/// The small fields that travel with the clips of a sample ("json", "txt", "cls", …): raw bytes.
struct SampleFields {
  std::string key;
  std::string shard;                                        ///< URL
  std::vector<std::pair<std::string, std::string>> fields;  ///< name, content; without the video

  [[nodiscard]] std::uint64_t bytes() const;
  /// Return a field's content, or null.
  [[nodiscard]] const std::string* find(std::string_view name) const;
};

/// What is known of one clip.
struct ClipInfo {
  ClipId id;
  std::shared_ptr<const SampleFields>
      sample;                             // shared: all clips of a sample carry the same fields
  std::vector<std::int64_t> frame_index;  ///< [T] in display order, from 0
  std::vector<double> pts_seconds;        ///< [T] as the container has them
  bool corrupt = false;  ///< the decoder flagged a frame (delivered under integrity = compat only)
};

/// B clips as one dense tensor plus their facts. Move-only; its memory goes back to the lane when
/// it dies, so keep at most `held_batches` at a time (more works, beyond the plan, and is reported
/// once).
class Batch {
 public:
  /// Storage whose destructor gives the memory back. That of a device answers for its streams, too.
  class Storage {
   public:
    virtual ~Storage() = default;
    [[nodiscard]] virtual std::byte* data() noexcept = 0;
    virtual Result<void> use_on(void* stream);
    virtual Result<void> copy_to_host(std::span<std::byte> to);
  };

  Batch() = default;
  Batch(std::unique_ptr<Storage> storage, std::vector<std::int64_t> shape, DType dtype,
        Layout layout, std::string device);

  /// The tensor's first byte, an address of `device`; dense, row-major over `shape`.
  [[nodiscard]] const std::byte* data() const noexcept {
    return storage_ ? storage_->data() : nullptr;
  }
  [[nodiscard]] std::byte* data() noexcept { return storage_ ? storage_->data() : nullptr; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept;
  /// [B, T, H, W, C], [B, T, C, H, W] or [B, C, T, H, W] by `layout`; yuv420: [B, T, H * 3 / 2, W,
  /// 1].
  [[nodiscard]] const std::vector<std::int64_t>& shape() const noexcept { return shape_; }
  [[nodiscard]] DType dtype() const noexcept { return dtype_; }
  [[nodiscard]] Layout layout() const noexcept { return layout_; }
  [[nodiscard]] const std::string& device() const noexcept { return device_; }  ///< e.g. "cuda:0"
  [[nodiscard]] bool on_host() const noexcept { return device_.starts_with("cpu"); }

  /// On a GPU: let what `stream` (a cudaStream_t of that device; null = the legacy default one)
  /// gets from now on find the tensor there. No host thread waits. When the batch dies, its memory
  /// is used again only behind what that stream has in line then; of several streams the last one
  /// counts, so join them first. The stream outlives the batch. On the host: nothing to do. Throws
  /// ShardreelError when the device fails.
  void use_on(void* stream);

  /// Copy the tensor into `size_bytes` bytes of host memory, and wait for it: to look at batches
  /// that are on a GPU, not to feed from them. Throws ShardreelError when the device fails.
  void copy_to_host(std::span<std::byte> to) const;

  [[nodiscard]] std::size_t size() const noexcept { return clips.size(); }  ///< B
  /// Bytes of clip number `clip` of the tensor, which are addresses of `device`.
  [[nodiscard]] std::span<const std::byte> clip_bytes(std::size_t clip) const;

  std::vector<ClipInfo> clips;  ///< [B]
  std::uint64_t epoch = 0;
  std::uint64_t index = 0;  ///< of the batch in its epoch, from 0

 private:
  std::unique_ptr<Storage> storage_;
  std::vector<std::int64_t> shape_;
  DType dtype_ = DType::kUint8;
  Layout layout_ = Layout::kThwc;
  std::string device_;
};

/// Bytes of one element.
[[nodiscard]] constexpr std::size_t element_bytes(DType dtype) {
  return dtype == DType::kUint8 ? 1 : dtype == DType::kFloat16 ? 2 : 4;
}

}  // namespace shardreel
