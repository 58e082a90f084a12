#!/usr/bin/python3
"""Batches on a GPU as Python sees them, over the fake CUDA runtime: what a capsule of DLPack says, and that
the consumer's stream finds there what a CPU lane gives.

    gpu_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import ctypes
import sys
import threading
import time
import unittest

import support

try:
    import numpy
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

import shardreel

OPTIONS = dict(support.SMALL, gpu_memory_reserve="64MiB")


class DLDevice(ctypes.Structure):
    _fields_ = [("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", DLDevice), ("ndim", ctypes.c_int32),
                ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


def described(capsule):
    """The tensor of a capsule that nobody has taken."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return DLTensor.from_address(get(capsule, b"dltensor"))


class Runtime:
    """The fake runtime inside of the module, and a stream of the consumer's."""

    def __init__(self):
        self._library = ctypes.CDLL(shardreel._shardreel.__file__)
        handle = ctypes.c_void_p()
        self._call("cudaStreamCreateWithFlags", ctypes.byref(handle), 1)
        self.stream = handle.value

    def _call(self, name, *arguments):
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            raise RuntimeError(f"{name}: {code}")

    def synchronize(self):
        self._call("cudaStreamSynchronize", ctypes.c_void_p(self.stream))


def setUpModule():
    support.make_shards()


class GpuBatches(unittest.TestCase):
    def test_a_consumers_stream_finds_what_a_cpu_lane_gives(self):
        runtime = Runtime()
        with shardreel.Loader(support.SHARDS, tensors="dlpack", devices=["cuda:1"], **OPTIONS) as on_gpu, \
                shardreel.Loader(support.SHARDS, tensors="numpy", **OPTIONS) as on_host:
            batches = 0
            for batch, same in zip(on_gpu, on_host):
                video = batch["video"]
                self.assertEqual(batch.device, "cuda:1")
                self.assertEqual(video.__dlpack_device__(), (2, 1))
                capsule = video.__dlpack__(stream=runtime.stream)
                tensor = described(capsule)
                self.assertEqual((tensor.device.device_type, tensor.device.device_id), (2, 1))
                shape = tuple(tensor.shape[: tensor.ndim])
                self.assertEqual(shape, same["video"].shape)
                runtime.synchronize()
#The fake device 's memory is the host' s.
                there = ctypes.string_at(tensor.data, int(numpy.prod(shape)))
                self.assertEqual(there, same["video"].tobytes())
                self.assertEqual(batch.ids, same.ids)
                self.assertEqual(batch["frame_index"].__dlpack_device__(), (1, 0), "facts stay here")
                batches += 1
            self.assertGreater(batches, 5)

    def test_what_is_asked_of_a_gpus_tensor(self):
        runtime = Runtime()
        with shardreel.Loader(support.SHARDS, tensors="dlpack", devices="cuda:0", **OPTIONS) as loader:
            video = loader.next()["video"]
            for wishes in ({"stream": -1}, {"stream": runtime.stream, "dl_device": (2, 0)}):
                self.assertIn("dltensor", repr(video.__dlpack__(**wishes)))
            with self.assertRaisesRegex(ValueError, "stream"):
                video.__dlpack__(stream=0)
            with self.assertRaisesRegex(BufferError, r"\(2, 0\)"):
                video.__dlpack__(stream=-1, dl_device=(1, 0))
            with self.assertRaisesRegex(BufferError, "copy"):
                video.__dlpack__(stream=-1, copy=True)
            runtime.synchronize()

    def test_what_lies_idle_is_given_back(self):
        loader = shardreel.Loader(support.SHARDS, tensors="dlpack", devices="cuda:0", **OPTIONS)
        self.assertEqual(loader.release_gpu(), 0, "not open yet")
        with loader:
            # More batches than were planned; the pool keeps their blocks.
            kept = [loader.next() for _ in range(6)]
            nbytes = int(numpy.prod(kept[0]["video"].shape))
            del kept
            Runtime().synchronize()
            given = []
            taker = threading.Thread(target=lambda: given.append(loader.release_gpu()))
            taker.start()
            loader.next()
            taker.join()
            # Blocks are free once the stream that used them has come to that.
            came, deadline = given[0], time.monotonic() + 60
            while came < nbytes and time.monotonic() < deadline:
                came += loader.release_gpu()
            self.assertGreaterEqual(came, nbytes)
            self.assertIsNotNone(loader.next(), "and it goes on")
        self.assertEqual(loader.release_gpu(), 0, "closed")
        with shardreel.Loader(support.SHARDS, **OPTIONS | {"gpu_memory_reserve": None}) as on_host:
            self.assertEqual(on_host.release_gpu(), 0)

    def test_a_gpu_that_is_not_there_is_an_option_error(self):
        with self.assertRaisesRegex(shardreel.OptionError, "cuda:0 to cuda:1"):
            shardreel.Loader(support.SHARDS, devices=["cuda:7"], **OPTIONS)


if __name__ == "__main__":
    support.main()
