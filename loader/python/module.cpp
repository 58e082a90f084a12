// The module shardreel._shardreel: the C++ loader as it is, for the package around it to dress.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <future>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include "loader/python/dlpack.h"
#include "shardreel/loader.h"

namespace py = pybind11;

namespace shardreel::python {
namespace {

// How often a waiting `next` looks whether Python wants to interrupt it.
constexpr std::chrono::milliseconds kInterruptPeriod{100};

/// Text of any bytes: what is not UTF-8 comes back as surrogates, as Python's file names do.
py::str text(std::string_view bytes) {
  PyObject* decoded =
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<py::ssize_t>(bytes.size()), "surrogateescape");
  if (decoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

/// Raise the package's own error, which `_errors.raise_error` chooses by the code.
[[noreturn]] void raise(const Error& error) {
  const py::object offset = error.offset ? py::object(py::int_(*error.offset)) : py::none();
  py::module_::import("shardreel._errors")
      .attr("raise_error")(std::string(to_string(error.code)), text(error.describe()),
                           text(error.shard), text(error.key), offset);
  throw py::error_already_set();
}

/// Where the loader's lines go. What the callback raises is kept until the caller's next call can
/// raise it, whichever thread the line came from. Used with the interpreter's lock.
class LogSink {
 public:
  explicit LogSink(py::object callback) : callback_(std::move(callback)) {}

  /// Takes the interpreter's lock itself.
  void say(LogLevel level, std::string_view line) {
    if (Py_IsInitialized() == 0) return;
    const py::gil_scoped_acquire locked;
    try {
      callback_(level == LogLevel::kWarning, text(line));
    } catch (const py::error_already_set& raised) {
      keep(raised);
    }
  }

  /// Of several the first is raised, an interrupt before all others; those are its context.
  void keep(const py::error_already_set& raised) {
    py::object other = raised.value();
    if (raised.trace()) PyException_SetTraceback(other.ptr(), raised.trace().ptr());
    if (!kept_) {
      kept_ = std::move(other);
      return;
    }
    if (interrupts(other) && !interrupts(kept_)) std::swap(kept_, other);
    py::object last = kept_;
    for (int depth = 0; depth < kMostKept; ++depth) {
      if (last.is(other)) return;  // the same object once more
      auto before = py::reinterpret_steal<py::object>(PyException_GetContext(last.ptr()));
      if (!before) return PyException_SetContext(last.ptr(), other.release().ptr());
      last = std::move(before);
    }
    discard(other);
  }

  [[nodiscard]] bool has_kept() const { return static_cast<bool>(kept_); }
  void raise_kept() {
    if (!kept_) return;
    restore(std::exchange(kept_, py::object()));
    throw py::error_already_set();
  }

  /// Where nothing can be raised, because the loader dies: an interrupt reaches the main thread
  /// all the same, anything else is shown as what other destructors raise.
  void leave_kept() {
    if (!kept_) return;
    py::object left = std::exchange(kept_, py::object());
    const auto raise_later = [](void* value) {
      restore(py::reinterpret_steal<py::object>(static_cast<PyObject*>(value)));
      return -1;
    };
    if (interrupts(left) && Py_AddPendingCall(raise_later, left.ptr()) == 0)
      left.release();
    else
      discard(left);
  }

 private:
  static constexpr int kMostKept = 16;
  static bool interrupts(const py::object& raised) {
    return PyObject_IsInstance(raised.ptr(), PyExc_Exception) == 0;
  }
  static void restore(py::object raised) {
    PyObject* const trace = PyException_GetTraceback(raised.ptr());
    PyObject* const type = py::type::of(raised).release().ptr();
    PyErr_Restore(type, raised.release().ptr(), trace);
  }
  static void discard(const py::object& raised) {
    restore(raised);
    PyErr_WriteUnraisable(py::str("shardreel's log callback").ptr());
  }

  const py::object callback_;
  py::object kept_;
};

ElementType element_type(DType dtype) {
  switch (dtype) {
    case DType::kUint8: return ElementType::kUint8;
    case DType::kFloat16: return ElementType::kFloat16;
    case DType::kFloat32: return ElementType::kFloat32;
  }
  return ElementType::kUint8;
}

/// A batch and what Python made of it. Shared with the tensors: the memory goes back to the lane
/// when the last of them dies.
class PyBatch {
 public:
  explicit PyBatch(Batch batch) : batch_(std::make_shared<Batch>(std::move(batch))) {}

  [[nodiscard]] Tensor video() const {
    Tensor tensor{batch_, batch_->data(), batch_->shape(), element_type(batch_->dtype()), -1, {}};
    if (batch_->on_host()) return tensor;
    tensor.gpu = std::stoi(batch_->device().substr(batch_->device().find(':') + 1));
    tensor.use_on = [batch = batch_](void* stream) { batch->use_on(stream); };
    return tensor;
  }
  [[nodiscard]] Tensor frame_index() const {
    return table<std::int64_t>(&ClipInfo::frame_index, ElementType::kInt64);
  }
  [[nodiscard]] Tensor pts() const {
    return table<double>(&ClipInfo::pts_seconds, ElementType::kFloat64);
  }
  [[nodiscard]] py::list keys() const {
    return each([](const ClipInfo& clip) { return text(clip.sample->key); });
  }
  [[nodiscard]] py::list shards() const {
    return each([](const ClipInfo& clip) { return text(clip.sample->shard); });
  }
  [[nodiscard]] py::list ids() const {
    return each([](const ClipInfo& clip) {
      return py::make_tuple(clip.id.epoch, clip.id.shard, clip.id.sample, clip.id.window);
    });
  }
  [[nodiscard]] py::list corrupt() const {
    return each([](const ClipInfo& clip) { return py::bool_(clip.corrupt); });
  }
  /// Names of all fields that some clip has, in the order in which they come.
  [[nodiscard]] py::list field_names() const {
    py::list names;
    for (const ClipInfo& clip : batch_->clips) {
      for (const auto& [name, content] : clip.sample->fields) {
        const py::str key = text(name);
        if (!names.contains(key)) names.append(key);
      }
    }
    return names;
  }
  /// One field of every clip, as bytes; None where a clip lacks it.
  [[nodiscard]] py::list field(const std::string& name) const {
    return each([&](const ClipInfo& clip) -> py::object {
      const std::string* content = clip.sample->find(name);
      return content == nullptr ? py::object(py::none()) : py::object(py::bytes(*content));
    });
  }
  [[nodiscard]] std::size_t size() const { return batch_->size(); }
  [[nodiscard]] std::uint64_t epoch() const { return batch_->epoch; }
  [[nodiscard]] std::uint64_t index() const { return batch_->index; }
  [[nodiscard]] std::string device() const { return batch_->device(); }

 private:
  template <typename Make>
  py::list each(const Make& make) const {
    py::list all;
    for (const ClipInfo& clip : batch_->clips) all.append(make(clip));
    return all;
  }

  template <typename T>
  [[nodiscard]] Tensor table(std::vector<T> ClipInfo::*column, ElementType type) const {
    auto values = std::make_shared<std::vector<T>>();
    for (const ClipInfo& clip : batch_->clips)
      values->insert(values->end(), (clip.*column).begin(), (clip.*column).end());
    const auto clips = static_cast<std::int64_t>(batch_->size());
    const auto frames =
        static_cast<std::int64_t>(values->size()) / std::max<std::int64_t>(clips, 1);
    return {values, values->data(), {clips, frames}, type, -1, {}};
  }

  std::shared_ptr<Batch> batch_;
};

LoaderOptions parse_options(const std::string& json) {
  auto options = LoaderOptions::from_json(json);
  if (!options) raise(options.error());
  return std::move(*options);
}

/// The loader; everything that may wait does so without the interpreter's lock.
class PyLoader {
 public:
  /// `state` is JSON, or empty. Opened on a thread of its own: only Python's main thread, which may
  /// be ours, can see that Python wants to interrupt.
  PyLoader(const std::string& options, const py::object& log, const std::string& state)
      : log_(new LogSink(log)) {
    const LoaderOptions parsed = parse_options(options);
    const LogCallback forward = [sink = log_](LogLevel level, std::string_view line) {
      sink->say(level, line);
    };
    std::stop_source stop;
    auto opening = std::async(std::launch::async, [&] {
      return std::make_unique<Loader>(
          state.empty() ? Loader::open(parsed, forward, stop.get_token())
                        : Loader::open(parsed, LoaderState{state}, forward, stop.get_token()));
    });
    for (bool there = false; !there;) {
      {
        const py::gil_scoped_release unlocked;
        there = opening.wait_for(kInterruptPeriod) == std::future_status::ready;
      }
      if (PyErr_CheckSignals() == 0) continue;
      log_->keep(py::error_already_set());
      stop.request_stop();
    }
    try {
      loader_ = opening.get();
    } catch (const ShardreelError& error) {
      if (stop.stop_requested()) log_->raise_kept();
      try {
        raise(error.error());
      } catch (const py::error_already_set& raised) {
        log_->keep(raised);  // behind what a callback raised before
      }
    }
    if (!log_->has_kept()) return;
    shut();
    log_->raise_kept();
  }
  PyLoader(const PyLoader&) = delete;
  PyLoader& operator=(const PyLoader&) = delete;
  ~PyLoader() {
    shut();
    log_->leave_kept();
  }

  std::unique_ptr<PyBatch> next(std::size_t lane) {
    try {
      for (bool there = false; !there;) {
        Loader& loader = get();  // a signal's handler may have closed it
        {
          const py::gil_scoped_release unlocked;
          there = loader.wait(kInterruptPeriod, lane);
        }
        log_->raise_kept();  // before a batch is taken, which would be lost
        if (!there && PyErr_CheckSignals() != 0) throw py::error_already_set();
      }
      std::optional<Batch> batch;
      Loader& loader = get();
      {
        const py::gil_scoped_release unlocked;
        batch = loader.next(lane);
      }
      return batch ? std::make_unique<PyBatch>(std::move(*batch)) : nullptr;
    } catch (const ShardreelError& error) {
      raise(error.error());
    }
  }

  /// On one lane, or on all.
  void set_epoch(std::uint64_t epoch, std::optional<std::size_t> lane) {
    Loader& loader = get();
    try {
      const py::gil_scoped_release unlocked;
      lane ? loader.set_epoch(epoch, *lane) : loader.set_epoch(epoch);
    } catch (const ShardreelError& error) {
      raise(error.error());
    }
  }
  [[nodiscard]] std::uint64_t epoch(std::size_t lane) const {
    try {
      return get().epoch(lane);
    } catch (const ShardreelError& error) {
      raise(error.error());
    }
  }
  [[nodiscard]] std::string state() const {
    const Loader& loader = get();
    const py::gil_scoped_release unlocked;
    return loader.state_dict().json;
  }
  /// (clips, batches) of an epoch, or None where indexes do not tell.
  [[nodiscard]] py::object epoch_size(std::uint64_t epoch, std::size_t lane) const {
    const Loader& loader = get();
    std::optional<EpochSize> size;
    {
      const py::gil_scoped_release unlocked;
      size = loader.epoch_size(epoch, lane);
    }
    return size ? py::object(py::make_tuple(size->clips, size->batches)) : py::none();
  }
  [[nodiscard]] std::size_t lanes() const { return get().lanes(); }
  [[nodiscard]] std::string options() const { return get().options().to_json(); }
  [[nodiscard]] std::string rank_source() const { return get().rank_source(); }

  void stop() {
    if (!loader_) return;
    const py::gil_scoped_release unlocked;
    loader_->stop();
  }
  std::uint64_t release_gpu() {
    if (!loader_) return 0;
    const py::gil_scoped_release unlocked;
    return loader_->release_gpu();
  }
  void close() {
    shut();
    log_->raise_kept();
  }
  /// In a forked child: the threads are the parent's, and so is everything they use.
  void abandon() { (void)loader_.release(); }

  [[nodiscard]] py::dict metrics() const;

 private:
  [[nodiscard]] Loader& get() const {
    if (!loader_) raise({ErrorCode::kStopped, "the loader is closed", {}, {}, {}});
    return *loader_;
  }
  void shut() {
    if (!loader_) return;
    const py::gil_scoped_release unlocked;
    loader_.reset();
  }
  // Lives as long as the process: the loader's threads may use it until they are joined, and
  // dropping what it holds would need the interpreter, which may be gone.
  LogSink* const log_;
  std::unique_ptr<Loader> loader_;
};

py::dict PyLoader::metrics() const {
  Metrics m;
  {
    const py::gil_scoped_release unlocked;
    m = get().metrics();
  }
  py::dict ledger;
  for (const auto& [tag, use] : m.ledger)
    ledger[py::str(tag)] = py::dict(py::arg("now") = use.now, py::arg("peak") = use.peak);
  py::list failures;
  for (const Error& failure : m.first_failures) failures.append(text(failure.describe()));
  using namespace pybind11::literals;
  return py::dict(
      "clips"_a = m.clips, "batches"_a = m.batches, "frames"_a = m.frames,
      "frames_decoded"_a = m.frames_decoded, "samples"_a = m.samples,
      "samples_complete"_a = m.samples_complete, "samples_partial"_a = m.samples_partial,
      "samples_skipped"_a = m.samples_skipped, "samples_filtered"_a = m.samples_filtered,
      "clips_cut"_a = m.clips_cut, "clips_repeated"_a = m.clips_repeated,
      "clips_padded"_a = m.clips_padded, "skipped_by_reason"_a = m.skipped_by_reason,
      "clips_dropped_by_reason"_a = m.clips_dropped_by_reason,
      "clips_by_decoder"_a = m.clips_by_decoder, "clips_from_device"_a = m.clips_from_device,
      "gpu_sessions"_a = m.gpu_sessions, "decode_costs"_a = m.decode_costs,
      "shuffle_clips"_a = m.shuffle_clips, "peak_shuffle_clips"_a = m.peak_shuffle_clips,
      "shards_opened"_a = m.shards_opened, "shards_failed"_a = m.shards_failed,
      "bytes_read"_a = m.bytes_read, "seconds"_a = m.seconds,
      "first_batch_seconds"_a = m.first_batch_seconds,
      "consumer_wait_seconds"_a = m.consumer_wait_seconds,
      "read_wait_seconds"_a = m.read_wait_seconds, "demux_seconds"_a = m.demux_seconds,
      "decode_seconds"_a = m.decode_seconds, "decode_idle_seconds"_a = m.decode_idle_seconds,
      "batch_wait_seconds"_a = m.batch_wait_seconds, "ledger"_a = ledger,
      "ledger_peak_bytes"_a = m.ledger_peak_bytes, "pss_bytes"_a = m.pss_bytes,
      "peak_pss_bytes"_a = m.peak_pss_bytes, "rss_bytes"_a = m.rss_bytes,
      "peak_rss_bytes"_a = m.peak_rss_bytes,
      "baseline_anonymous_bytes"_a = m.baseline_anonymous_bytes,
      "peak_anonymous_bytes"_a = m.peak_anonymous_bytes, "first_failures"_a = failures,
      "verdict"_a = text(m.verdict));
}

/// Every problem of the options, one sentence each; unknown names and wrong types raise.
std::vector<std::string> check_options(const std::string& json) {
  return parse_options(json).validate();
}

std::string plan_json(const std::string& json) {
  const LoaderOptions options = parse_options(json);
  const auto report = plan(options);
  if (!report) raise(report.error());
  return report->to_json();
}

py::list option_rows() {
  py::list rows;
  for (const OptionInfo& row : option_table())
    rows.append(py::make_tuple(row.name, row.values, row.initial, row.decides, row.help));
  return rows;
}

}  // namespace
}  // namespace shardreel::python

PYBIND11_MODULE(_shardreel, module) {
  using namespace shardreel::python;
  module.doc() = "The C++ core of shardreel; use the package `shardreel` instead.";

  py::class_<Tensor>(module, "Tensor", "Dense memory that libraries take through DLPack.")
      .def(
          "__dlpack__",
          [](const Tensor& tensor, const py::object& stream, const py::object&,
             const py::object& device, const py::object& copy) {
            try {
              meet_dlpack_request(tensor, stream, device, copy);
            } catch (const shardreel::ShardreelError& error) {
              raise(error.error());
            }
            return to_dlpack(tensor);
          },
          py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
          py::arg("dl_device") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack_device__", [](const Tensor& tensor) { return dlpack_device(tensor); })
      .def_property_readonly("shape",
                             [](const Tensor& tensor) { return py::tuple(py::cast(tensor.shape)); })
      .def_property_readonly("data_ptr", [](const Tensor& tensor) {
        return reinterpret_cast<std::uintptr_t>(tensor.data);
      });

  py::class_<PyBatch>(module, "Batch")
      .def_property_readonly("video", &PyBatch::video)
      .def_property_readonly("frame_index", &PyBatch::frame_index)
      .def_property_readonly("pts", &PyBatch::pts)
      .def_property_readonly("keys", &PyBatch::keys)
      .def_property_readonly("shards", &PyBatch::shards)
      .def_property_readonly("ids", &PyBatch::ids)
      .def_property_readonly("corrupt", &PyBatch::corrupt)
      .def_property_readonly("field_names", &PyBatch::field_names)
      .def("field", &PyBatch::field)
      .def_property_readonly("epoch", &PyBatch::epoch)
      .def_property_readonly("index", &PyBatch::index)
      .def_property_readonly("device", &PyBatch::device)
      .def("__len__", &PyBatch::size);

  py::class_<PyLoader>(module, "Loader")
      .def(py::init<const std::string&, const py::object&, const std::string&>(),
           py::arg("options"), py::arg("log"), py::arg("state") = "")
      .def("next", &PyLoader::next, py::arg("lane") = 0)
      .def("set_epoch", &PyLoader::set_epoch, py::arg("epoch"), py::arg("lane") = py::none())
      .def("epoch", &PyLoader::epoch, py::arg("lane") = 0)
      .def("epoch_size", &PyLoader::epoch_size, py::arg("epoch"), py::arg("lane") = 0)
      .def("state", &PyLoader::state)
      .def("stop", &PyLoader::stop)
      .def("release_gpu", &PyLoader::release_gpu)
      .def("close", &PyLoader::close)
      .def("abandon", &PyLoader::abandon)
      .def("metrics", &PyLoader::metrics)
      .def_property_readonly("lanes", &PyLoader::lanes)
      .def_property_readonly("options", &PyLoader::options)
      .def_property_readonly("rank_source", &PyLoader::rank_source);

  module.def("check_options", &check_options);
  module.def("plan", &plan_json);
  module.def("option_rows", &option_rows);
}
