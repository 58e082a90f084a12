#include "loader/python/dlpack.h"

namespace shardreel::python {
namespace {

// The structures of the DLPack specification (dmlc.github.io/dlpack), as C lays them out.
struct DLDevice {
  std::int32_t device_type;
  std::int32_t device_id;
};
struct DLDataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};

constexpr std::int32_t kDLCPU = 1, kDLCUDA = 2;
// As the standard and the CUDA runtime both number it.
constexpr std::uintptr_t kLegacyStream = 1;
constexpr std::uint8_t kDLInt = 0, kDLUInt = 1, kDLFloat = 2;
constexpr const char* kName = "dltensor";

DLDataType data_type(ElementType type) {
  switch (type) {
    case ElementType::kUint8: return {kDLUInt, 8, 1};
    case ElementType::kFloat16: return {kDLFloat, 16, 1};
    case ElementType::kFloat32: return {kDLFloat, 32, 1};
    case ElementType::kInt64: return {kDLInt, 64, 1};
    case ElementType::kFloat64: return {kDLFloat, 64, 1};
  }
  return {kDLUInt, 8, 1};
}

DLDevice device_of(const Tensor& tensor) {
  return tensor.gpu < 0 ? DLDevice{kDLCPU, 0} : DLDevice{kDLCUDA, tensor.gpu};
}

/// What one consumer holds.
struct Exported {
  DLManagedTensor managed{};
  Tensor tensor;
  std::vector<std::int64_t> strides;
};

void destroy(DLManagedTensor* managed) noexcept {
  delete static_cast<Exported*>(managed->manager_ctx);
}

/// A consumer renames the capsule; one with its old name was never taken.
void destroy_unconsumed(PyObject* capsule) noexcept {
  if (PyCapsule_IsValid(capsule, kName) == 0) return;
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, kName));
  managed->deleter(managed);
}

}  // namespace

pybind11::capsule to_dlpack(const Tensor& tensor) {
  auto exported = std::make_unique<Exported>();
  exported->tensor = tensor;
  exported->strides.resize(tensor.shape.size(), 1);
  for (std::size_t i = tensor.shape.size(); i-- > 1;)
    exported->strides[i - 1] = exported->strides[i] * tensor.shape[i];
  DLManagedTensor& managed = exported->managed;
  managed.dl_tensor = {tensor.data,
                       device_of(tensor),
                       static_cast<std::int32_t>(tensor.shape.size()),
                       data_type(tensor.type),
                       exported->tensor.shape.data(),
                       exported->strides.data(),
                       0};
  managed.manager_ctx = exported.get();
  managed.deleter = &destroy;
  PyObject* capsule = PyCapsule_New(&managed, kName, &destroy_unconsumed);
  if (capsule == nullptr) throw pybind11::error_already_set();
  exported.release();  // the capsule's now
  return pybind11::reinterpret_steal<pybind11::capsule>(capsule);
}

void meet_dlpack_request(const Tensor& tensor, const pybind11::object& stream,
                         const pybind11::object& device, const pybind11::object& copy) {
  const pybind11::tuple here = dlpack_device(tensor);
  if (!device.is_none() && !pybind11::tuple(device).equal(here)) {
    throw pybind11::buffer_error("dl_device: expected " + std::string(pybind11::repr(here)) +
                                 ", where the tensor is");
  }
  if (!copy.is_none() && pybind11::bool_(copy))
    throw pybind11::buffer_error("copy: the memory is shared, never copied");
  // -1 asks for no synchronisation, which is all that host memory needs.
  if (!stream.is_none() && stream.equal(pybind11::int_(-1))) return;
  if (tensor.gpu < 0) {
    if (stream.is_none()) return;
    throw pybind11::value_error("stream: expected None, the tensor is in host memory");
  }
  const auto handle = stream.is_none() ? kLegacyStream : pybind11::cast<std::uintptr_t>(stream);
  // 0 could be either default stream, so the standard forbids it.
  if (handle == 0)
    throw pybind11::value_error("stream: expected 1 or 2 for a default stream, not 0");
  tensor.use_on(reinterpret_cast<void*>(handle));
}

pybind11::tuple dlpack_device(const Tensor& tensor) {
  const DLDevice device = device_of(tensor);
  return pybind11::make_tuple(device.device_type, device.device_id);
}

}  // namespace shardreel::python
