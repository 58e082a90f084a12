#!/usr/bin/python3
"""Clips as WebDataset's users know samples, against what Python webdataset makes of the same shards.

    webdataset_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import io
import os
import sys
import tarfile
import unittest
import warnings

import support
from support import SMALL

try:
    import numpy
    import torch
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

import shardreel
from shardreel.webdataset import ClipSamples

webdataset = None
SHARDS = os.path.join(support.WORK, "many-fields-{000000..000001}.tar")
OPTIONS = {name: value for name, value in SMALL.items() if name != "batch_size"}


def array_bytes(array):
    data = io.BytesIO()
    numpy.save(data, array)
    return data.getvalue()


def setUpModule():
    """Shards whose samples have a field of every kind that webdataset decodes without help."""
    support.make_shards()
    for number in range(2):
        with tarfile.open(SHARDS.replace("{000000..000001}", f"{number:06}"), "w") as out:
            for part in (2 * number, 2 * number + 1):
                with tarfile.open(os.path.join(support.WORK, "shards", f"shard-{part:06}.tar")) as archive:
                    copy_with_fields(archive, out, part)


def copy_with_fields(archive, out, part):
    def add(name, content):
        header = tarfile.TarInfo(f"some/folder.x/{name}")
        header.size = len(content)
        out.addfile(header, io.BytesIO(content))

    for member in archive:
        add(member.name, archive.extractfile(member).read())
        key, _, field = member.name.partition(".")
        if field != "cls":
            continue
        at = 10 * part + int(key[-1])
        add(f"{key}.TXT", f"κείμενο {at}\n".encode())
        add(f"{key}.caption.text", f"caption {at}".encode())
        add(f"{key}.index", f" {at} ".encode())
        add(f"{key}.npy", array_bytes(numpy.full((2, 3), at, numpy.float32)))
        add(f"{key}.ragged.npy", array_bytes(numpy.arange(at)))
        add(f"{key}.bin", bytes([at, 0, 255]))


def reference():
    """{(url, key): fields} by webdataset itself."""
    dataset = webdataset.WebDataset(SHARDS, shardshuffle=False).decode()
    return {(sample["__url__"], sample["__key__"]): sample for sample in dataset}


class AgainstWebdatasetTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        globals()["webdataset"] = support.import_webdataset()

    def check(self, seen, expected):
        self.assertEqual(type(seen), type(expected))
        if isinstance(seen, numpy.ndarray):
            self.assertEqual(seen.dtype, expected.dtype)
            numpy.testing.assert_array_equal(seen, expected)
        else:
            self.assertEqual(seen, expected)

    def test_every_clip_has_the_fields_that_webdataset_gives_its_sample(self):
        samples, windows = reference(), {}
        self.assertEqual(len(samples), 16)
        source = ClipSamples(SHARDS, **OPTIONS)
        for clip in source:
            place = clip["__url__"], clip["__key__"]
            expected = samples[place]
            windows.setdefault(place, []).append(clip["__window__"])
            # The video is the one field whose name is another: it may have been .mkv.
            videos = {"mp4", "mkv", "webm", "avi"}
            own = {"__window__", "frame_index", "pts", "mp4"}
            self.assertEqual(set(clip) - own, set(expected) - {"__local_path__"} - videos)
            for name in set(clip) - own:
                with self.subTest(name):
                    self.check(clip[name], expected[name])
            numbers = [support.frame_number(frame, clip["json"]) for frame in clip["mp4"].numpy()]
            self.assertEqual(numbers, clip["frame_index"].tolist())
            self.assertEqual(numbers[0], 8 * clip["__window__"])
            self.assertEqual(clip["pts"].shape, (8,))
        source.loader.close()
        self.assertEqual(set(windows), set(samples))
        for place, found in windows.items():
            self.assertEqual(sorted(found), list(range(samples[place]["json"]["frames"] // 8)))

    def test_it_is_the_source_of_a_pipeline(self):
        source = ClipSamples(SHARDS, field="clip", **OPTIONS)
        clips = list(webdataset.DataPipeline(
            source, webdataset.select(lambda sample: sample["cls"] < 4),
            webdataset.to_tuple("clip", "cls", "__key__"), webdataset.batched(4, partial=True)))
        self.assertEqual(clips[0][0].shape, (4, 8, support.SIDE, support.SIDE, 3))
        expected = sum(sample["json"]["frames"] // 8 for sample in reference().values() if sample["cls"] < 4)
        self.assertEqual(sum(len(batch[2]) for batch in clips), expected)
        # Again: the next epoch.
        fluid = webdataset.FluidWrapper(source).decode(partial=True).map_dict(cls=str).to_tuple("cls")
        self.assertIn(next(iter(fluid))[0], list("01234567"))
        source.loader.close()


class ClipSamplesTest(unittest.TestCase):
    def clip_ids(self, batches):
        return sorted((key, window) for batch in batches
                      for key, window in zip(batch["__key__"], batch["__window__"].tolist()))

    def expected_ids(self):
        with shardreel.Loader(SHARDS, **SMALL, drop_last=False, tensors="dlpack") as loader:
            return sorted((key, clip[3]) for batch in loader for key, clip in zip(batch["key"], batch.ids))

    def test_a_dataloader_makes_the_batches(self):
        for workers in (0, 2):
            source = ClipSamples(SHARDS, **OPTIONS)

            def without_ragged(samples):
                return torch.utils.data.default_collate(
                    [{name: value for name, value in sample.items() if name != "ragged.npy"} for sample in samples])

            batches = list(torch.utils.data.DataLoader(source, batch_size=8, num_workers=workers,
                                                       collate_fn=without_ragged))
            self.assertEqual(batches[0]["mp4"].shape, (8, 8, support.SIDE, support.SIDE, 3))
            self.assertEqual(batches[0]["cls"].dtype, torch.int64)
            self.assertEqual(batches[0]["npy"].shape, (8, 2, 3))
            self.assertEqual(self.clip_ids(batches), self.expected_ids(), workers)
            source.loader.close()

    def test_the_order_is_the_loaders(self):
        """Batches do not change the order of clips."""
        source = ClipSamples(SHARDS, **OPTIONS)
        seen = [(clip["__key__"], clip["__window__"]) for clip in source]
        source.loader.close()
        with shardreel.Loader(SHARDS, **SMALL, drop_last=False, tensors="dlpack") as loader:
            expected = [(key, clip[3]) for batch in loader for key, clip in zip(batch["key"], batch.ids)]
        self.assertEqual(seen, expected)

    def test_a_clip_is_not_copied_and_keeps_its_memory_alone(self):
        source = ClipSamples(SHARDS, **OPTIONS, shuffle="none")
        clips = iter(source)
        first = next(clips)["mp4"]
        self.assertEqual(first.untyped_storage().nbytes() if hasattr(first, "untyped_storage")
                         else first.storage().nbytes(), first.numel())
        before = first.clone()
        for _ in zip(range(40), clips):
            pass
        self.assertTrue(torch.equal(first, before))
        source.loader.close()

    def test_what_it_cannot_take_is_said(self):
        with self.assertRaisesRegex(shardreel.OptionError, "batched"):
            ClipSamples(SHARDS, batch_size=4)
        with self.assertRaisesRegex(shardreel.OptionError, "torch or numpy"):
            ClipSamples(SHARDS, tensors="dlpack")
        with self.assertRaisesRegex(shardreel.OptionError, "num_frames"):
            ClipSamples(SHARDS, num_frame=4)

    def test_workers_are_warned_of(self):
        source = ClipSamples(SHARDS, **OPTIONS)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            list(source)
        self.assertEqual([], [str(one.message) for one in caught if "num_workers" in str(one.message)])

        def told(worker):
            # Runs in the worker, which then sends no warning but an error.
            warnings.filterwarnings("error", "shardreel runs in 2 DataLoader worker")

        with self.assertRaisesRegex(UserWarning, "num_workers=0 is faster"):
            list(torch.utils.data.DataLoader(source, batch_size=None, num_workers=2, worker_init_fn=told))
        source.loader.close()


class BatchFieldsTest(unittest.TestCase):
    """The same fields in whole batches."""

    def test_they_are_collated_by_their_kind(self):
        with shardreel.Loader(SHARDS, **SMALL, tensors="numpy") as loader:
            for batch in loader:
                numbers = batch["index"]
                self.assertEqual(numbers.dtype, numpy.int64)
                self.assertEqual(batch["npy"].shape, (4, 2, 3))
                self.assertEqual(batch["npy"][:, 1, 1].tolist(), numbers.tolist())
                self.assertEqual(batch["txt"], [f"κείμενο {at}\n" for at in numbers])
                self.assertEqual(batch["caption.text"], [f"caption {at}" for at in numbers])
                self.assertEqual(batch["bin"], [bytes([at, 0, 255]) for at in numbers])
                self.assertEqual([value["class"] for value in batch["json"]], batch["cls"].tolist())
                ragged = batch["ragged.npy"]
                if len(set(numbers.tolist())) > 1:
                    self.assertIsInstance(ragged, list)
                self.assertEqual([len(array) for array in ragged], numbers.tolist())

    def test_content_that_does_not_fit_its_name_says_where_it_is(self):
        bad = os.path.join(support.WORK, "bad.tar")
        with tarfile.open(os.path.join(support.WORK, "shards", "shard-000000.tar")) as archive, \
                tarfile.open(bad, "w") as out:
            for member in archive:
                content = archive.extractfile(member).read()
                if member.name.endswith(".cls"):
                    content = b"dog"
                header = tarfile.TarInfo(member.name)
                header.size = len(content)
                out.addfile(header, io.BytesIO(content))
        with shardreel.Loader(bad, **SMALL, tensors="numpy") as loader:
            batch = next(iter(loader))
            with self.assertRaises(shardreel.DataError) as caught:
                batch["cls"]
            self.assertEqual(caught.exception.shard, bad)
            self.assertEqual(caught.exception.key, batch["key"][0])
            self.assertIn("field cls", str(caught.exception))
            self.assertIn("b'dog'", str(caught.exception))
            self.assertEqual(batch["json"][0]["frames"] > 0, True)  # the rest is there


if __name__ == "__main__":
    support.main()
