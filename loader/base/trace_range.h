#pragma once
// Names what a thread does, for tools that draw it on a time line beside the GPU's work (Nsight
// Systems and others that take NVTX ranges).

namespace shardreel {

/// A scope on a time line, in the domain "shardreel"; ranges of a thread lie within each other.
/// Without a tool in the process it costs a call and a look at two pointers; in builds without CUDA
/// two empty calls.
class TraceRange {
 public:
  /// `name` is a literal: tools may keep the address.
  explicit TraceRange(const char* name) noexcept;
  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;
  ~TraceRange();
};

}  // namespace shardreel
