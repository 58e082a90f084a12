#!/usr/bin/python3
"""Every ```python block of the README and of docs/ runs, in the order of its page, against real shards.

    snippets_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]

The blocks of a page share their names, as if typed one after the other. They run as they stand but for
the names of shards, which are put in from SHARD_NAMES below; a .tar that is not named there is an error.
A comment that says a type and a shape, `clips = ...  # uint8 [8, 16]`, must be true after its block.
"""

import contextlib
import glob
import importlib
import io
import json
import os
import re
import unittest

import numpy

import support
from support import ROOT, SHARDS

# What the pages call their shards, and what it stands for here: four shards of four generated clips.
SHARD_NAMES = {
    "shards/train-{000000..000099}.tar": SHARDS,
    "build/quickstart/train/shard-{000000..000003}.tar": SHARDS,
    "build/quickstart/heldout/shard-000000.tar": SHARDS,
}

# Packages of others, which a snippet may need and a machine may lack.
OTHERS = ("torch", "webdataset", "av")


def setUpModule():
    support.make_shards()
    SHARD_NAMES["videos/train-{000000..000099}.tar"] = support.make_mp4_shards()


def missing(code):
    """What the code needs and cannot be imported, or None."""
    code = re.sub(r"#.*", "", code)
    for name in OTHERS:
        if not re.search(rf"\b{name}\b", code):
            continue
        try:
            support.import_webdataset() if name == "webdataset" else importlib.import_module(name)
        except (ImportError, unittest.SkipTest) as problem:
            return f"{name}: {problem}"
    return None


def pages():
    docs = glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True)
    return [os.path.join(ROOT, "README.md"), *sorted(docs)]


def blocks(text):
    """The python blocks of a page as (number of the first line, code)."""
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, found.start()) + 2, found.group(1)


def with_real_shards(code):
    for name in re.findall(r"[^\s\"']+\.tar", code):
        if name not in SHARD_NAMES:
            raise AssertionError(f"'{name}' is not in SHARD_NAMES: {sorted(SHARD_NAMES)}")
        code = code.replace(name, SHARD_NAMES[name])
    return code


class SnippetsTest(unittest.TestCase):
    def test_every_snippet_runs(self):
        ran = 0
        for page in pages():
            with open(page, encoding="utf-8") as file:
                text = file.read()
            names = {"__name__": "__main__"}
            for line, code in blocks(text):
                place = f"{os.path.relpath(page, ROOT)}:{line}"
                with self.subTest(place):
                    lacks = missing(code)
                    if lacks is not None:
                        self.skipTest(f"SKIPPED: {place} needs {lacks}")
                    # Blank lines first, so that a traceback has the page's own line numbers.
                    program = compile("\n" * (line - 1) + with_real_shards(code), page, "exec")
                    with contextlib.redirect_stdout(io.StringIO()):
                        exec(program, names)  # pylint: disable=exec-used
                    self.check_shapes(code, names)
                    ran += 1
        print(f"{ran} snippets ran")
        self.assertGreater(ran, 0)

    def check_shapes(self, code, names):
        for name, kind, shape in re.findall(r"^ *(\w+) = .*# (\w+) \[([\d, ]+)\]", code, re.MULTILINE):
            self.assertEqual(str(names[name].dtype).split(".")[-1], kind, name)
            self.assertEqual(list(names[name].shape), json.loads(f"[{shape}]"), name)

    def test_wrong_shapes_are_noticed(self):
        names = {"clips": numpy.zeros((8, 16), numpy.uint8)}
        self.check_shapes("clips = batch  # uint8 [8, 16], as said", names)
        for wrong in ("uint8 [8, 15]", "int64 [8, 16]"):
            with self.assertRaises(AssertionError):
                self.check_shapes(f"clips = batch  # {wrong}", names)

    def test_unknown_shards_are_noticed(self):
        with self.assertRaisesRegex(AssertionError, "no-such.tar"):
            with_real_shards('Loader("no-such.tar")')


if __name__ == "__main__":
    support.main()
