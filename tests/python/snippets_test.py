#!/usr/bin/python3
"""Every ```python block of the README and of docs/ runs, in the order of its page, against real shards.

    snippets_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]

The blocks of a page share their names, as if typed one after the other. A block is skipped where it needs
a package that is missing, or a name that a skipped block before it would have given. They run as they stand but for
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
import symtable
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


def names_given(code):
    """The names that a block leaves to those behind it."""
    return {symbol.get_name() for symbol in symtable.symtable(code, "block", "exec").get_symbols()
            if symbol.is_assigned() or symbol.is_imported()}


def names_needed(code):
    """The names that a block, or a function in it, reads without giving them itself."""
    def tables(table):
        yield table
        for child in table.get_children():
            yield from tables(child)

    top, *inner = tables(symtable.symtable(code, "block", "exec"))
    read = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    read |= {symbol.get_name() for table in inner for symbol in table.get_symbols() if symbol.is_global()}
    return read - names_given(code)


def runnable(page_blocks, lacks):
    """(line, code, why it is skipped or None) of the blocks of a page; `lacks` says what a block cannot have."""
    lost = {}  # name: line of the skipped block that would have given it
    for line, code in page_blocks:
        why = lacks(code)
        needs = sorted(names_needed(code) & set(lost))
        if why is None and needs:
            why = f"'{needs[0]}' of the block at line {lost[needs[0]]}, which was skipped"
        for name in names_given(code):
            if why is None:
                lost.pop(name, None)
            else:
                lost[name] = line
        yield line, code, why


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
            for line, code, lacks in runnable(blocks(text), missing):
                place = f"{os.path.relpath(page, ROOT)}:{line}"
                with self.subTest(place):
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

    def test_what_needs_a_skipped_block_is_skipped(self):
        page = ["import webdataset\nsource = clips = webdataset.of('x')", "for one in source:\n    print(one)",
                "def show():\n    return clips", "source = [1]", "print(source)", "print(one)", "one = [o for o in [2]]",
                "print(one)", "print(clips)"]
        found = runnable(enumerate(page, 1), lambda code: "webdataset" if "webdataset" in code else None)
        self.assertEqual([why for _, _, why in found],
                         ["webdataset", "'source' of the block at line 1, which was skipped",
                          "'clips' of the block at line 1, which was skipped", None, None,
                          "'one' of the block at line 2, which was skipped", None, None,
                          "'clips' of the block at line 1, which was skipped"])

    def test_unknown_shards_are_noticed(self):
        with self.assertRaisesRegex(AssertionError, "no-such.tar"):
            with_real_shards('Loader("no-such.tar")')


if __name__ == "__main__":
    support.main()
