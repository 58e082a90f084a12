#!/usr/bin/python3
"""Fields of samples: decoded when they are asked for, and what becomes of those that cannot be.

    fields_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import copy
import json
import os
import pickle
import subprocess
import unittest
import unittest.mock
import warnings

import numpy

import support
from support import SMALL

import shardreel
from shardreel import _fields

try:
    import torch
    from shardreel.pytorch import ClipDataset
    from shardreel.webdataset import ClipSamples
except ImportError:
    torch = None

needs_torch = unittest.skipIf(torch is None, "SKIPPED: torch cannot be imported")
BROKEN, LARGE, NAMES = "broken.tar", "large.tar", "names.tar"
BAD_KEY = "clip-000001"
OPTIONS = {**SMALL, "drop_last": False}
ROOM = {"member_inline_bytes": "16MiB", "memory_bytes": "6GiB"}  # for fields of 10 MiB
SAMPLES = {name: value for name, value in OPTIONS.items() if name not in ("batch_size", "drop_last")}


def setUpModule():
    warnings.filterwarnings("ignore", "shardreel runs in")
    support.make_shards()
    keys = []

    def break_one(name, content):
        """One sample's label and facts are no number and no JSON."""
        key, _, field = name.partition(".")
        if key not in keys:
            keys.append(key)
        if key == keys[0]:
            content = {"cls": b"dog", "json": b"{"}.get(field, content)
        yield name, content

    def enlarge(name, content):
        if name.endswith(".json"):
            content = json.dumps({**json.loads(content), "more": "x" * (10 << 20)}).encode()
        yield name, content

    def add_names(name, content):
        yield name, content
        if name.endswith(".cls"):
            yield os.fsencode(name[:-3]) + b"caf\xe9", b"of " + content

    globals().update(BROKEN=support.copy_shard(0, BROKEN, break_one), LARGE=support.copy_shard(1, LARGE, enlarge),
                     NAMES=support.copy_shard(2, NAMES, add_names))
    globals()["BAD_KEY"] = keys[0]


def loader(urls, **options):
    return shardreel.Loader(urls, **{"tensors": "numpy", **OPTIONS, **options})


def nothing_is_decoded():
    def fails(content):
        raise AssertionError(f"{len(content)} bytes are decoded")
    return unittest.mock.patch.dict(_fields._DECODERS, {"json": fails})


def facts(urls, **options):
    """{key: number of clips}, labels by keys: as the archive has them."""
    clips, labels = {}, {}
    with loader(urls, **options) as batches:
        for batch in batches:
            for key, content in zip(batch["key"], batch._batch.field(b"cls")):
                clips[key] = clips.get(key, 0) + 1
                labels[key] = content
    return clips, labels


class AskedForTest(unittest.TestCase):
    """What nobody asks for is not decoded."""

    def test_a_batch_decodes_what_is_asked_for(self):
        with nothing_is_decoded(), loader(LARGE, **ROOM) as batches:
            for batch in batches:
                self.assertEqual(len(batch["cls"]), len(batch["key"]))
                self.assertIn("json", batch)
                self.assertNotIn("jsn", batch)
                self.assertIn("json", batch.keys())
                self.assertIsNone(batch.get("jsn"))
                with self.assertRaises(AssertionError):
                    batch["json"]

    def test_it_is_a_dict_for_who_wants_one(self):
        with loader(LARGE, **ROOM) as batches:
            batch = next(iter(batches))
            made = dict(batch)
            self.assertEqual(list(made), list(batch))
            self.assertEqual([len(value["more"]) for value in made["json"]], [10 << 20] * 4)
            self.assertEqual([name for name, _ in batch.items()], list(batch))

    @needs_torch
    def test_a_dataloader_passes_batches_on_as_they_are(self):
        for workers in (0, 2):
            dataset = ClipDataset(LARGE, **{**OPTIONS, **ROOM})
            ids = []
            with nothing_is_decoded():
                for batch in torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers):
                    self.assertIsInstance(batch, shardreel.Batch)
                    self.assertIsInstance(batch["video"], torch.Tensor)
                    self.assertEqual(batch["cls"].dtype, torch.int64)
                    self.assertEqual((batch.epoch, len(batch.corrupt)), (0, len(batch["key"])))
                    ids += batch.ids
            self.assertEqual(len(set(ids)), sum(facts(LARGE, **ROOM)[0].values()))
            dataset.loader.close()

    @needs_torch
    def test_samples_decode_what_is_asked_for(self):
        source = ClipSamples(LARGE, **{**SAMPLES, **ROOM})
        with nothing_is_decoded():
            for sample in source:
                self.assertIsInstance(sample["cls"], int)
                self.assertIn("json", sample)
        source.loader.close()

    @needs_torch
    def test_samples_are_dicts_however_they_are_read(self):
        source = ClipSamples(BROKEN, **SAMPLES, on_field_error=shardreel.Default("broken"))
        for sample in source:
            asked = {name: copy.copy(sample)[name] for name in sample}
            self.assertEqual({type(asked["cls"]), type(asked["json"])},
                             {str} if sample["__key__"] == BAD_KEY else {int, dict})
            for read in (dict, lambda one: {**one}, lambda one: dict(one.items()), copy.copy, copy.deepcopy,
                         lambda one: dict(zip(one.keys(), one.values())), lambda one: {} | one,
                         lambda one: pickle.loads(pickle.dumps(one)), lambda one: {name: one.get(name) for name in one},
                         lambda one: {name: copy.copy(one).pop(name) for name in one},
                         lambda one: {name: copy.copy(one).setdefault(name, 1) for name in one},
                         lambda one: dict(one.popitem() for _ in range(len(one)))):
                found = read(copy.copy(sample))
                self.assertEqual(found["cls"], asked["cls"])
                self.assertEqual(found["json"], asked["json"])
                self.assertEqual(set(found), set(asked))
            renamed = copy.copy(sample)
            renamed["label"] = renamed.pop("cls")
            del renamed["json"]
            self.assertNotIn("json", renamed)
            self.assertEqual(renamed.pop("json", 7), 7)
            with self.assertRaises(KeyError):
                renamed.pop("json")
        source.loader.close()

    def test_a_name_that_is_no_utf8_is_as_file_names_are(self):
        _, labels = facts(NAMES)
        with loader(NAMES) as batches:
            for batch in batches:
                name = next(name for name in batch if name.startswith("caf"))
                self.assertEqual(os.fsencode(name), b"caf\xe9")
                self.assertEqual(batch[name], [b"of " + labels[key] for key in batch["key"]])


class BrokenTest(unittest.TestCase):
    """One sample of four has a label and facts that cannot be decoded."""

    @classmethod
    def setUpClass(cls):
        cls.clips, cls.labels = facts(BROKEN)
        cls.bad = cls.clips[BAD_KEY]
        cls.all = sum(cls.clips.values())

    def test_who_does_not_ask_does_not_see_it(self):
        with loader(BROKEN) as batches:
            self.assertEqual(sum(len(batch["key"]) for batch in batches), self.all)

    def test_who_asks_is_told_where_it_is_and_it_is_counted(self):
        with loader(BROKEN, batch_size=1) as batches:
            for batch in batches:
                if batch["key"] != [BAD_KEY]:
                    batch["cls"]
                    continue
                with self.assertRaisesRegex(shardreel.DataError, f"{BAD_KEY}: field cls .*b'dog'") as caught:
                    batch["cls"]
                self.assertEqual(caught.exception.code, "bad_field")
            self.assertEqual(batches.metrics()["bad_fields"], {"cls": {"fail": self.bad}})

    def test_a_default_stands_in(self):
        for given in (shardreel.Default(-1), {"cls": shardreel.Default(-1)}, {"*": shardreel.Default(-1)}):
            with loader(BROKEN, on_field_error=given) as batches, self.assertLogs("shardreel", "WARNING") as logs:
                for batch in batches:
                    self.assertEqual(batch["cls"].dtype, numpy.int64)
                    self.assertEqual(batch["cls"].tolist(), [-1 if key == BAD_KEY else int(self.labels[key])
                                                             for key in batch["key"]])
                self.assertEqual(batches.metrics()["bad_fields"], {"cls": {"default": self.bad}})
            said = [line for line in logs.output if f"{BAD_KEY}: field cls" in line]
            self.assertEqual(len(said), min(5, self.bad))

    def test_its_clips_are_left_out(self):
        seen = []
        with loader(BROKEN, on_field_error={"cls": "skip"}, max_skip_ratio=0.9) as batches:
            for batch in batches:
                seen += batch["key"]
                size = len(batch["key"])
                self.assertEqual(batch["cls"].tolist(), [int(self.labels[key]) for key in batch["key"]])
                for of_clips in (batch["video"], batch["pts"], batch.ids, batch.corrupt):
                    self.assertEqual(len(of_clips), size)
            for _ in range(2):  # a picture's number is its own
                batch = next(iter(batches))
                row = next(row for row, facts_of in enumerate(batch._batch.field(b"json")) if facts_of != b"{")
                number = support.frame_number(batch["video"][row][0], json.loads(batch._batch.field(b"json")[row]))
                self.assertEqual(number, batch["frame_index"][row][0])
            counts = batches.metrics()["bad_fields"]["cls"]
        self.assertNotIn(BAD_KEY, seen)
        self.assertEqual(len(seen), self.all - self.bad)
        self.assertGreaterEqual(counts["skip"], self.bad)

    def test_whole_batches_are_left_out(self):
        with loader(BROKEN, on_field_error="skip", batch_size=1, max_skip_ratio=0.9) as batches:
            self.assertEqual(sum(1 for _ in batches), self.all - self.bad)

    def test_more_than_max_skip_ratio_ends_the_run(self):
        self.assertLess(self.bad, 0.9 * self.all)
        with loader(BROKEN, on_field_error="skip", max_skip_ratio=0.01) as batches:
            with self.assertRaisesRegex(shardreel.DataError, "max_skip_ratio 0.01"):
                for _ in range(40):  # it is judged from 100 clips on
                    list(batches)

    def test_wrong_policies_are_told(self):
        for wrong in ("ignore", 3, {"cls": "ignore"}, {3: "skip"}, ["skip"]):
            with self.assertRaisesRegex(shardreel.OptionError, "on_field_error.*expected 'fail', 'skip'"):
                loader(BROKEN, on_field_error=wrong)
        with self.assertRaisesRegex(shardreel.OptionError, "dlpack"):
            loader(BROKEN, on_field_error="skip", tensors="dlpack")
        loader(BROKEN, on_field_error=shardreel.Default(0), tensors="dlpack")

    def test_a_policy_travels(self):
        copied = pickle.loads(pickle.dumps(loader(BROKEN, on_field_error={"cls": shardreel.Default(-1)})))
        with copied:
            self.assertTrue(any(-1 in batch["cls"] for batch in copied))

    @needs_torch
    def test_samples_whose_field_nobody_asks_for_come(self):
        source = ClipSamples(BROKEN, **SAMPLES)
        self.assertEqual(len(list(source)), self.all)
        with self.assertRaisesRegex(shardreel.DataError, "field cls"):
            for sample in source:
                sample["cls"]
        source.loader.close()

    @needs_torch
    def test_a_dataloader_of_samples(self):
        for workers in (0, 2):
            source = ClipSamples(BROKEN, **SAMPLES, on_field_error={"json": "skip", "cls": shardreel.Default(-1)},
                                 max_skip_ratio=0.9)
            batches = torch.utils.data.DataLoader(source, batch_size=4, num_workers=workers)
            keys = [key for batch in batches for key in batch["__key__"]]
            self.assertEqual(len(keys), self.all - self.bad)
            self.assertNotIn(BAD_KEY, keys)
            source.loader.close()

    @needs_torch
    def test_a_dataloader_of_batches(self):
        for workers in (0, 2):
            dataset = ClipDataset(BROKEN, **OPTIONS)
            batches = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers)
            self.assertEqual(sum(len(batch["key"]) for batch in batches), self.all)
            with self.assertRaisesRegex(shardreel.DataError, "field cls"):
                for batch in batches:
                    batch["cls"]
            dataset.loader.close()

    @needs_torch
    def test_what_workers_send_is_counted_where_it_is_decoded(self):
        for context in ("fork", "spawn"):
            dataset = ClipDataset(BROKEN, **OPTIONS, on_field_error=shardreel.Default(-1))
            with self.assertLogs("shardreel", "WARNING") as logs:
                for batch in torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2,
                                                         multiprocessing_context=context):
                    batch["cls"]
            self.assertEqual(dataset.loader.metrics()["bad_fields"], {"cls": {"default": self.bad}})
            self.assertEqual(len([line for line in logs.output if "field cls" in line]), min(5, self.bad))
            dataset.loader.close()

    @needs_torch
    def test_pinned_it_is_the_same_batch(self):
        with loader(BROKEN, tensors="torch") as batches, \
                unittest.mock.patch.object(torch.Tensor, "pin_memory", torch.Tensor.clone):  # which needs no GPU
            batch = next(iter(batches))
            pinned = batch.pin_memory()
            self.assertIsInstance(pinned, shardreel.Batch)
            self.assertNotEqual(pinned["video"].data_ptr(), batch["video"].data_ptr())
            self.assertTrue(torch.equal(pinned["video"], batch["video"]))
            self.assertEqual((pinned.ids, pinned["key"], list(pinned)), (batch.ids, batch["key"], list(batch)))


if __name__ == "__main__":
    support.main()
