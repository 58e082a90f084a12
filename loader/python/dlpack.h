#pragma once
// A piece of memory as other libraries take it: the DLPack exchange protocol (version 0.8 of its
// structures), without a copy and without linking any of them.

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace shardreel::python {

enum class ElementType { kUint8, kFloat16, kFloat32, kInt64, kFloat64 };

/// A dense, row-major tensor in host memory. `owner` keeps the memory alive: for as long as this
/// lives, and for as long as anybody who took it through DLPack does.
struct Tensor {
  std::shared_ptr<const void> owner;
  void* data = nullptr;
  std::vector<std::int64_t> shape;
  ElementType type = ElementType::kUint8;
};

/// A `PyCapsule` named "dltensor", as `__dlpack__` returns it. Whoever consumes it calls the
/// deleter; an unconsumed one does so itself.
pybind11::capsule to_dlpack(const Tensor& tensor);

/// What the array API standard asks of `__dlpack__(stream, dl_device, copy)`: host memory has no
/// streams, so ValueError for any; BufferError for another device and for `copy=True`. None = no
/// wish.
void check_dlpack_request(const pybind11::object& stream, const pybind11::object& device,
                          const pybind11::object& copy);

/// (device type, device number) for `__dlpack_device__`: (1, 0), the host.
pybind11::tuple dlpack_device();

}  // namespace shardreel::python
