#pragma once
// A piece of memory as other libraries take it: the DLPack exchange protocol (version 0.8 of its
// structures), without a copy and without linking any of them.

#include <pybind11/pybind11.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace shardreel::python {

enum class ElementType { kUint8, kFloat16, kFloat32, kInt64, kFloat64 };

/// A dense, row-major tensor. `owner` keeps the memory alive: for as long as this lives, and for as
/// long as anybody who took it through DLPack does.
struct Tensor {
  std::shared_ptr<const void> owner;
  void* data = nullptr;
  std::vector<std::int64_t> shape;
  ElementType type = ElementType::kUint8;
  std::int32_t gpu = -1;  ///< number of the CUDA device it is on; -1 = host memory
  /// On a GPU: let a cudaStream_t find the tensor there.
  std::function<void(void* stream)> use_on;
};

/// A `PyCapsule` named "dltensor", as `__dlpack__` returns it. Whoever consumes it calls the
/// deleter; an unconsumed one does so itself.
pybind11::capsule to_dlpack(const Tensor& tensor);

/// What the array API standard asks of `__dlpack__(stream, dl_device, copy)`. BufferError for
/// another device and for `copy=True`; None = no wish. On a GPU the consumer's `stream` is made to
/// wait for the tensor: a cudaStream_t as a number, 1 or None the legacy default stream, 2 the
/// thread's default stream, -1 none at all. Host memory has no streams: ValueError for all but None
/// and -1.
void meet_dlpack_request(const Tensor& tensor, const pybind11::object& stream,
                         const pybind11::object& device, const pybind11::object& copy);

/// (device type, device number) for `__dlpack_device__`: (1, 0) the host, (2, N) CUDA device N.
pybind11::tuple dlpack_device(const Tensor& tensor);

}  // namespace shardreel::python
