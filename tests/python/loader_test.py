#!/usr/bin/python3
"""What a batch holds, and whose memory it is.

    loader_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import gc
import glob
import os
import pickle
import re
import subprocess
import tarfile
import unittest

import support
from support import SHARDS, SMALL

try:
    import numpy
    import shardreel
except ImportError as missing:
    raise SystemExit(f"cannot import: {missing}") from None
try:
    import torch
except ImportError:
    torch = None

needs_torch = unittest.skipIf(torch is None, "SKIPPED: torch cannot be imported")


def setUpModule():
    support.make_shards()


def loader(**options):
    return shardreel.Loader(SHARDS, **{"tensors": "numpy", **SMALL, **options})


class ShardTest(unittest.TestCase):
    """Archives written here, of one video under names of our choice."""

    @staticmethod
    def write(name, *members):
        video = sorted(glob.glob(os.path.join(support.WORK, "clips", "**", "*.mp4"), recursive=True))[0]
        path = os.path.join(support.WORK, name)
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
            for member in members:
                tar.add(video, os.fsdecode(member))
        return path

    def test_keys_that_are_no_utf8_are_as_file_names_are(self):
        keys = [b"caf\xe9/1", b"caf\xe8/1"]
        path = self.write("names.tar", *[key + b".mp4" for key in keys])
        with shardreel.Loader(path, tensors="numpy", **{**SMALL, "batch_size": 1, "shuffle": "none"}) as clips:
            self.assertEqual({os.fsencode(key) for batch in clips for key in batch["key"]}, set(keys))

    def test_an_epoch_of_empty_archives_names_one(self):
        path = self.write("empty.tar")
        with shardreel.Loader(path, tensors="numpy", **SMALL) as clips:
            with self.assertRaisesRegex(shardreel.ShardreelError, re.escape(path)):
                list(clips)


class BatchTest(unittest.TestCase):
    def test_frames_are_those_that_are_named_and_labels_stay_with_their_clips(self):
        seen = 0
        with loader() as clips:
            for batch in clips:
                self.assertEqual(batch["video"].shape, (4, 8, support.SIDE, support.SIDE, 3))
                self.assertEqual(batch["video"].dtype, numpy.uint8)
                self.assertEqual(batch["frame_index"].dtype, numpy.int64)
                self.assertEqual(batch["pts"].shape, (4, 8))
                for clip in range(4):
                    facts = batch["json"][clip]
                    numbers = [support.frame_number(frame, facts) for frame in batch["video"][clip]]
                    self.assertEqual(numbers, batch["frame_index"][clip].tolist(), batch["key"][clip])
                    self.assertEqual(int(batch["cls"][clip]), facts["class"])
                    self.assertIn("shard-0000", batch["shard"][clip])
                    seen += 1
        self.assertGreater(seen, 40)

    def test_it_is_a_mapping(self):
        with loader() as clips:
            batch = next(iter(clips))
            self.assertEqual(list(batch)[:5], ["video", "frame_index", "pts", "key", "shard"])
            self.assertEqual(set(dict(batch)), set(batch))
            self.assertEqual(len(batch), len(list(batch)))
            self.assertIs(batch["key"], batch["key"])
            with self.assertRaises(KeyError):
                batch["nothing"]

    def test_layouts_and_types(self):
        for layout, shape in (("TCHW", (4, 8, 3, 128, 128)), ("CTHW", (4, 3, 8, 128, 128))):
            with loader(layout=layout, dtype="float32", shuffle="none") as clips, \
                    loader(shuffle="none") as plain:
                batch, reference = next(iter(clips)), next(iter(plain))
                self.assertEqual(batch["video"].shape, shape)
                axes = (0, 1, 4, 2, 3) if layout == "TCHW" else (0, 4, 1, 2, 3)
                expected = reference["video"].transpose(axes).astype(numpy.float32) / 255
                numpy.testing.assert_allclose(batch["video"], expected, atol=1e-6)
        with loader(dtype="float16") as clips:
            self.assertEqual(next(iter(clips))["video"].dtype, numpy.float16)

    @needs_torch
    def test_torch_gets_the_same_memory(self):
        with loader(tensors="torch") as clips:
            batch = next(iter(clips))
            self.assertIsInstance(batch["video"], torch.Tensor)
            self.assertEqual(batch["video"].data_ptr(), batch._batch.video.data_ptr)
            self.assertEqual(batch["cls"].dtype, torch.int64)
            again = torch.from_dlpack(batch._batch.video)
            self.assertEqual(again.data_ptr(), batch["video"].data_ptr())

    def test_numpy_gets_the_same_memory(self):
        with loader() as clips:
            batch = next(iter(clips))
            address = batch["video"].__array_interface__["data"][0]
            self.assertEqual(address, batch._batch.video.data_ptr)


    def test_gray_and_planar_colours(self):
        for color, shape in (("gray", (4, 8, 128, 128, 1)), ("yuv420", (4, 8, 192, 128, 1))):
            with loader(color=color) as clips:
                self.assertEqual(next(iter(clips))["video"].shape, shape)

    def test_dlpack_says_what_it_cannot_do(self):
        with loader(tensors="dlpack") as clips:
            tensor = next(iter(clips))["video"]
            self.assertEqual(tensor.__dlpack_device__(), (1, 0))
            numpy.from_dlpack(tensor)
            for wishes in ({}, {"stream": None}, {"stream": -1}, {"max_version": (1, 0)}, {"copy": False},
                           {"dl_device": (1, 0), "copy": None}):
                self.assertIn("dltensor", repr(tensor.__dlpack__(**wishes)))
            with self.assertRaisesRegex(ValueError, "stream"):
                tensor.__dlpack__(stream=2)
            with self.assertRaisesRegex(BufferError, "dl_device"):
                tensor.__dlpack__(dl_device=(2, 0))
            with self.assertRaisesRegex(BufferError, "copy"):
                tensor.__dlpack__(copy=True)
            with self.assertRaises(TypeError):
                tensor.__dlpack__(None)


class LifetimeTest(unittest.TestCase):
    def held(self, clips):
        ledger = clips.metrics()["ledger"]
        return ledger["batch"]["now"] + ledger["held"]["now"]

    def test_a_tensor_outlives_its_batch_and_its_loader(self):
        with loader(shuffle="none") as clips:
            first = next(iter(clips))["video"]
            expected = first.copy()
            for _ in zip(range(20), clips):
                pass
            numpy.testing.assert_array_equal(first, expected)
        del clips
        gc.collect()
        numpy.testing.assert_array_equal(first, expected)

    def test_memory_goes_back_when_the_last_tensor_dies(self):
        with loader(epochs=0) as clips:
            batch = clips.next()
            while self.held(clips) < 4 * batch["video"].nbytes:
                pass  # the loader fills what it may: two ahead, two for the consumer
            kept = [batch["video"], batch["video"][0]]
            del batch
            gc.collect()
            full = self.held(clips)
            del kept[0]
            self.assertEqual(self.held(clips), full)
            self.assertIsNotNone(kept[0])


class LoaderTest(unittest.TestCase):
    def ids(self, clips):
        return [tuple(clip) for batch in clips for clip in batch.ids]

    def test_epochs_follow_each_other_and_can_be_set(self):
        with loader(epochs=0) as clips:
            first, second = self.ids(clips), self.ids(clips)
            self.assertEqual({clip[0] for clip in first}, {0})
            self.assertEqual({clip[0] for clip in second}, {1})
            clips.set_epoch(0)
            self.assertEqual(self.ids(clips), first)

    def test_options_are_what_was_given_and_then_what_was_decided(self):
        clips = loader()
        self.assertEqual(clips.options["num_frames"], 8)
        self.assertNotIn("window_stride", clips.options)
        with clips:
            self.assertEqual(clips.options["window_stride"], 8)
            self.assertIn("rank 0 of 1", clips.rank_source)

    def test_wrong_options_name_the_right_ones(self):
        for options, word in (({"num_frame": 3}, "num_frames"), ({"num_frames": "x"}, "num_frames"),
                              ({"num_frames": 0}, "num_frames"), ({"color": "blue"}, "color"),
                              ({"tensors": "jax"}, "torch"), ({"mean": object()}, "object"),
                              ({"memory_bytes": "lots"}, "memory_bytes")):
            with self.assertRaises(shardreel.OptionError) as caught:
                loader(**options)
            self.assertIn(word, str(caught.exception))
            self.assertIsInstance(caught.exception, ValueError)

    def test_values_of_other_libraries_are_taken(self):
        with loader(num_frames=numpy.int64(4), mean=list(numpy.array([0.5])), dtype="float32") as clips:
            self.assertEqual(next(iter(clips))["video"].shape[1], 4)

    def test_errors_say_where(self):
        with self.assertRaises(shardreel.BudgetError) as caught:
            loader(memory_bytes="1MiB").open()
        self.assertIn("need", str(caught.exception))
        with self.assertRaises(shardreel.DataError) as caught:
            list(shardreel.Loader("no-such.tar", **SMALL))
        self.assertIn("no-such.tar", str(caught.exception))
        self.assertEqual(pickle.loads(pickle.dumps(caught.exception)).code, caught.exception.code)
        closed = loader()
        closed.close()
        with self.assertRaises(shardreel.StoppedError if closed._core else shardreel.ShardreelError):
            closed.next()

    def test_length_is_known_where_it_was_given(self):
        self.assertEqual(len(loader(batches_per_epoch=7)), 7)
        with loader() as clips, self.assertRaises(TypeError):
            len(clips)
        folder = os.path.join(support.WORK, "indexes")
        pattern = os.path.join(support.WORK, "shards", "shard-00000{}.tar")
        subprocess.run([support.SHARDREEL, "index", *(pattern.format(i) for i in range(4)),
                        "--index-dir", folder], check=True, stdout=subprocess.DEVNULL)
        with loader(index_dir=folder) as clips:
            self.assertEqual(len(clips), sum(1 for _ in clips))

    def test_a_loader_is_pickled_by_its_options(self):
        clips = loader()
        clips.set_epoch(3)
        copy = pickle.loads(pickle.dumps(clips))
        with copy:
            self.assertEqual(next(iter(copy)).epoch, 3)

    def test_progress_counts_clips(self):
        counted = []
        with loader() as clips:
            total = sum(len(batch["key"]) for batch in clips.iterate(progress=counted.append))
        self.assertEqual(sum(counted), total)

    def test_every_option_of_the_table_is_a_keyword(self):
        rows = shardreel.option_rows()
        self.assertGreater(len(rows), 40)
        for name, *_ in rows:
            if name not in ("urls", *SMALL):
                loader(**{name: None})
        stub = os.path.join(os.path.dirname(shardreel.__file__), "__init__.pyi")
        with open(stub, encoding="utf-8") as file:
            stubbed = re.findall(r"^        (\w+): .* = None,$", file.read(), re.MULTILINE)
        self.assertEqual([name for name, *_ in rows if name != "urls"], stubbed)

    @needs_torch
    def test_in_a_dataloader(self):
        from shardreel.pytorch import ClipDataset
        with loader(ranks="exact", drop_last=False) as clips:
            expected = sorted(clip[1:] for clip in self.ids(clips))
        for workers in (0, 2):
            dataset = ClipDataset(SHARDS, tensors="torch", **{**SMALL, "drop_last": False})
            batches = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers)
            frames = 0
            for batch in batches:
                self.assertIsInstance(batch["video"], torch.Tensor)
                frames += batch["frame_index"].numel()
            self.assertEqual(frames, 8 * len(expected), workers)


if __name__ == "__main__":
    support.main()
