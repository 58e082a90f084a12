#pragma once
// Owners of FFmpeg's objects: one alias per free function.

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/frame.h>
}

#include <memory>

namespace shardreel {

/// Deleter for the free functions that take a pointer to the pointer and null it.
template <auto kFree>
struct AvDeleter {
  template <typename T>
  void operator()(T* object) const noexcept {
    kFree(&object);
  }
};

using AVCodecContextPtr = std::unique_ptr<AVCodecContext, AvDeleter<avcodec_free_context>>;
using AVCodecParametersPtr = std::unique_ptr<AVCodecParameters, AvDeleter<avcodec_parameters_free>>;
using AVFramePtr = std::unique_ptr<AVFrame, AvDeleter<av_frame_free>>;
using AVPacketPtr = std::unique_ptr<AVPacket, AvDeleter<av_packet_free>>;
/// Only for contexts that `avformat_open_input` opened; it frees them itself when it fails.
using AVInputContextPtr = std::unique_ptr<AVFormatContext, AvDeleter<avformat_close_input>>;

/// Unreferences a packet (or frame) at the end of a scope, so that one allocation serves a whole
/// loop.
class PacketScope {
 public:
  explicit PacketScope(AVPacket& packet) noexcept : packet_(packet) {}
  PacketScope(const PacketScope&) = delete;
  PacketScope& operator=(const PacketScope&) = delete;
  ~PacketScope() { av_packet_unref(&packet_); }

 private:
  AVPacket& packet_;
};

class FrameScope {
 public:
  explicit FrameScope(AVFrame& frame) noexcept : frame_(frame) {}
  FrameScope(const FrameScope&) = delete;
  FrameScope& operator=(const FrameScope&) = delete;
  ~FrameScope() { av_frame_unref(&frame_); }

 private:
  AVFrame& frame_;
};

}  // namespace shardreel
