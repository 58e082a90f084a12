#!/usr/bin/env python3
"""Independent model of the reference reader, and maker of odd archives for it.

  oracle.py make DIR SEED COUNT   write COUNT random archives into DIR
  oracle.py read FILE...          print for each file its samples as the reference groups them

It stands on Python's `tarfile` in stream mode and `re`, as the reference does, and knows nothing of
the reader under test. Written from the description of the format, with errors ignored and the
stream continued (the compat mode).
"""
import io
import os
import random
import re
import sys
import tarfile
import zlib

KEY = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
META = re.compile(r"__[^/]*__($|/)")


def raw(text):
    return text.encode("utf-8", "surrogateescape")


def members(path):
    """Names and contents until the first error, which ends the file."""
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r|*") as tar:
            for info in tar:
                if not info.isreg():
                    continue
                name = info.name
                if "/" not in name and name.startswith("__") and name.endswith("__"):
                    continue
                if META.match(name):
                    continue
                yield name, tar.extractfile(info).read()
                tar.members = []
    except Exception:
        yield None, b""


def samples(path):
    current, fields = None, None
    failed = False

    def done():
        return current is not None and not fields.get("__bad__")

    for name, value in members(path):
        if name is None:
            failed = True
            break
        match = KEY.match(name)
        if not match:
            continue
        key, field = match.group(1), match.group(2).lower()
        if key != current:
            if done():
                yield current, fields
            current, fields = key, {}
        if field in fields or field in ("__key__", "__url__", "__local_path__"):
            continue
        fields[field] = value
    if done():
        yield current, fields
    yield ("failed" if failed else "whole"), None


def read(paths):
    for path in paths:
        print("file", os.path.basename(path))
        for key, fields in samples(path):
            if fields is None:
                print(key)
                continue
            parts = [raw(key).hex()]
            for name, value in fields.items():
                parts.append(f"{raw(name).hex()}={len(value)}={zlib.crc32(value)}")
            print("sample", *parts)


def random_name(rng):
    if rng.random() < 0.1:
        # A file's name that ends in a slash makes libarchive forget its content; no writer makes one.
        return "".join(rng.choice("ab./_.A") for _ in range(rng.randrange(1, 10))).strip("/") or "a"
    key = rng.choice(["a", "b", "a", "d/a", "d.v1/a", "__x__/a", "x/__y__/a", "d", "./a", "über",
                      "longer/" * 30 + "a", "n" * 120, "__meta__", "\udcff\udcfe"])
    field = rng.choice(["jpg", "JPG", "txt", "seg.png", "", "cls", "__bad__", "__key__", "ÄÖ", "json"])
    return key + "." + field


def random_archive(rng):
    out = io.BytesIO()
    form = rng.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    mode = rng.choice(["w:", "w:", "w:gz", "w:bz2", "w:xz"])
    with tarfile.open(fileobj=out, mode=mode, format=form, encoding="utf-8") as tar:
        for _ in range(rng.randrange(12)):
            info = tarfile.TarInfo(random_name(rng))
            info.type = rng.choice([b"0"] * 12 + [b"\0", b"7", b"5", b"1", b"2", b"6", b"Z"])
            content = b""
            if info.type in (b"0", b"\0", b"7"):
                content = rng.randbytes(rng.choice([0, 1, 511, 512, 513, 3000]))
            if info.type in (b"1", b"2"):
                info.linkname = "a.jpg"
            info.size = len(content)
            info.mtime = rng.choice([0, 1.5])
            if rng.random() < 0.1:
                info.pax_headers = {"comment": "x" * rng.randrange(600)}
            try:
                tar.addfile(info, io.BytesIO(content))
            except ValueError:
                pass  # a name that this format cannot hold
    data = bytearray(out.getvalue())
    if mode != "w:":
        return bytes(data)
    change = rng.random()
    place = rng.randrange(len(data))
    if change < 0.1:
        del data[place:]
    elif change < 0.2:
        del data[place // 512 * 512:]
    return bytes(data)


def make(folder, seed, count):
    rng = random.Random(int(seed))
    for i in range(int(count)):
        with open(os.path.join(folder, f"{i:06}.tar"), "wb") as file:
            file.write(random_archive(rng))


if __name__ == "__main__":
    {"make": lambda a: make(*a), "read": read}[sys.argv[1]](sys.argv[2:])
