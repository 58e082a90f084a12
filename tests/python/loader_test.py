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
import threading
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

    def test_each_for_is_a_whole_epoch(self):
        with loader(epochs=0) as endless:
            expected = [self.ids(endless) for _ in range(5)]
        for epochs in (0, 1, 2):
            with loader(epochs=epochs) as clips:
                self.assertEqual([self.ids(clips) for _ in range(5)], expected)

    def test_after_a_break_the_next_for_is_whole(self):
        with loader(epochs=0) as endless:
            expected = [self.ids(endless) for _ in range(4)]
        for epochs in (0, 1):
            with loader(epochs=epochs) as clips:
                for batch in clips:
                    break
                self.assertEqual(list(map(tuple, batch.ids)), expected[0][:4])
                self.assertEqual(self.ids(clips), expected[1])
                self.assertEqual(clips.next() is None, epochs == 1)  # the end of the stream
                self.assertEqual(self.ids(clips), expected[2 if epochs == 1 else 3])
                clips.set_epoch(1)
                next(iter(clips))
                clips.set_epoch(1)
                self.assertEqual(self.ids(clips), expected[1])

    def test_next_is_a_stream_of_the_epochs(self):
        with loader(epochs=2) as clips:
            epochs = []
            for _ in range(2):
                epochs += [batch.epoch for batch in iter(clips.next, None)]
            self.assertEqual(sorted(set(epochs)), [0, 1])
            self.assertIsNone(clips.next())
            self.assertIsNone(clips.next())

    def test_behind_a_state_comes_the_rest_of_its_epoch(self):
        with loader(epochs=1) as clips:
            whole, following = self.ids(clips), self.ids(clips)
        with loader() as clips:
            clips.next()
            state = clips.state_dict()
        with loader() as clips:
            clips.load_state_dict(state)
            self.assertEqual(self.ids(clips), whole[4:])
            self.assertEqual(self.ids(clips), following)

    def test_lanes_have_epochs_of_their_own(self):
        with loader(devices=["cpu:0", "cpu:1"], ranks="exact", drop_last=False) as clips:
            first = [[batch.ids for batch in clips.iterate(lane)] for lane in range(2)]
            for batch in clips.iterate(0):
                break
            again = [batch.ids for batch in clips.iterate(1)]
            self.assertEqual((batch.epoch, again[0][0][0]), (1, 1))
            self.assertEqual({batch.epoch for batch in clips.iterate(0)}, {2})
            self.assertFalse({tuple(clip) for ids in first[0] for clip in ids} &
                             {tuple(clip) for ids in first[1] for clip in ids})
            with self.assertRaisesRegex(shardreel.OptionError, "lane 2 of 2"):
                next(clips.iterate(2))

    def test_an_iteration_that_another_ended_says_so(self):
        with loader() as clips:
            first, second = iter(clips), iter(clips)
            self.assertEqual((next(first).epoch, next(second).epoch), (0, 1))
            with self.assertRaisesRegex(shardreel.ShardreelError, "another iteration"):
                next(first)
            self.assertEqual({batch.epoch for batch in second}, {1})

    def test_threads_that_ask_at_once_share_one_loader(self):
        with loader(drop_last=False) as alone:
            expected = sorted(self.ids(alone))
        for _ in range(5):
            clips, start, found = loader(drop_last=False), threading.Barrier(4), []

            def take():
                start.wait()
                for batch in iter(clips.next, None):
                    found.extend(map(tuple, batch.ids))

            threads = [threading.Thread(target=take) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(sorted(found), expected)
            clips.close()

    def test_a_thread_for_each_lane_opens_one_loader(self):
        for _ in range(5):
            clips = loader(devices=[f"cpu:{lane}" for lane in range(4)], ranks="exact", drop_last=False)
            start, found = threading.Barrier(4), []

            def take(lane):
                start.wait()
                for batch in clips.iterate(lane):
                    found.extend(map(tuple, batch.ids))

            threads = [threading.Thread(target=take, args=(lane,)) for lane in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            with loader(drop_last=False) as alone:
                self.assertEqual(sorted(found), sorted(self.ids(alone)))
            clips.close()

    def test_a_loader_is_true_and_stays_shut(self):
        clips = loader()
        self.assertTrue(clips)
        self.assertIn("not open yet", repr(clips))

    def test_epochs_that_are_none_are_told(self):
        for wrong in (-1, 2**63, 1.5, "1", None):
            for clips in (loader(), loader().open()):
                with self.assertRaisesRegex(shardreel.OptionError, "set_epoch: .*expected a whole number"):
                    clips.set_epoch(wrong)
                clips.close()
        with loader() as clips:
            clips.set_epoch(numpy.int64(3))
            self.assertEqual(clips.epoch, 3)

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
        arrays = [numpy.array, *([torch.tensor] if torch else [])]
        for array in arrays:
            given = {"num_frames": array(4), "drop_last": array(True), "flip": array(0.5), "mean": [array(0.5)] * 3,
                     "std": array([0.5, 0.25, 0.125]), "dtype": "float32", "batches_per_epoch": array(3)}
            with loader(**given) as clips:
                self.assertEqual(next(iter(clips))["video"].shape[1], 4)
                self.assertEqual(clips.options["std"], [0.5, 0.25, 0.125])
                self.assertEqual(clips.options["mean"], [0.5] * 3)
                self.assertEqual(len(clips), 3)
        with loader(num_frames=numpy.int64(4), mean=numpy.float32(0.5), dtype="float32") as clips:
            self.assertEqual(next(iter(clips))["video"].shape[1], 4)
        clips = shardreel.Loader(numpy.array([SHARDS]), tensors="numpy", **SMALL)
        self.assertEqual(clips.options["urls"], [SHARDS])

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
        with clips:
            whole = self.ids(clips)
            clips.set_epoch(3)
            clips.next()
            with pickle.loads(pickle.dumps(clips)) as copy:
                self.assertEqual(self.ids(copy), whole[4:])
        with pickle.loads(pickle.dumps(clips)) as copy:  # closed, too
            self.assertEqual(self.ids(copy), whole[4:])

    def test_a_loaded_state_is_pickled(self):
        with loader() as clips:
            whole = self.ids(clips)
            clips.set_epoch(0)
            clips.next()
            state = clips.state_dict()
        clips = loader()
        clips.load_state_dict(state)
        with pickle.loads(pickle.dumps(clips)) as copy:
            self.assertEqual(self.ids(copy), whole[4:])
        clips.close()

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
