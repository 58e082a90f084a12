"""A reader of shard indexes written from docs/format.md alone: the oracle of the index's tests."""

import struct
import zlib

NO_TIME = -2**63
MASK = 2**64 - 1


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def signed(self):
        value = self.number()
        return value >> 1 ^ -(value & 1)

    def take(self, size):
        self.at += size
        assert self.at <= len(self.data)
        return self.data[self.at - size:self.at]

    def text(self):
        return self.take(self.number())

    def left(self):
        return len(self.data) - self.at


def wrapped(value):
    value &= MASK
    return value - 2**64 if value >= 2**63 else value


def padded(size):
    return (size + 511) // 512 * 512


def read_block(stored, raw_bytes, packets, keyframes):
    raw = stored if len(stored) == raw_bytes else zlib.decompress(stored, -15)
    assert len(raw) == raw_bytes
    cursor = Cursor(raw)
    parameters = cursor.text()

    def running(count):
        values, last = [], 0
        for _ in range(count):
            last = wrapped(last + cursor.signed())
            values.append(last)
        return values

    key = list(zip(running(keyframes), running(keyframes), running(keyframes),
                   [cursor.number() for _ in range(keyframes)]))
    dts, last, step = [], 0, 0
    for _ in range(packets):
        step = wrapped(step + cursor.signed())
        last = wrapped(last + step)
        dts.append(last)
    pts, last = [], 0
    for time in dts:
        last = wrapped((time if time != NO_TIME else last) + cursor.signed())
        pts.append(last)
    gaps = [cursor.signed() for _ in range(packets)]
    sizes = [cursor.number() for _ in range(packets)]
    flags = [cursor.number() for _ in range(packets)]
    offsets, end = [], 0
    for gap, size in zip(gaps, sizes):
        offsets.append((end + gap) & MASK)
        end = offsets[-1] + size
    assert cursor.left() == 0
    names = ("pts", "dts", "offset", "size", "flags")
    return {"codec_parameters": parameters,
            "keyframes": [dict(zip(("frame", "pts", "offset", "open"), row)) for row in key],
            "packets": [dict(zip(names, row)) for row in zip(pts, dts, offsets, sizes, flags)]}


def read_profile(cursor, strings):
    profile = {}
    for name in ("field", "codec", "container", "pixel_format", "color_matrix", "color_range", "color_primaries",
                 "color_transfer"):
        profile[name] = strings[cursor.number()].decode()
    for name in ("coded_width", "coded_height", "display_width", "display_height", "quarter_turns", "bits"):
        profile[name] = cursor.number()
    for name in ("time_base", "frame_rate"):
        profile[name] = (cursor.number(), cursor.number())
    return profile


def read_index(data):
    """Everything that the bytes of an index hold, as plain lists and dictionaries."""
    assert data[:8] == b"\x89SRIDX\r\n"
    version, flags, shard_bytes, fingerprint, samples, directory_bytes, _, block_bytes, _ = struct.unpack_from(
        "<IIQQQQQQQ", data, 8)
    assert version == 2 and len(data) == 72 + directory_bytes + block_bytes
    cursor = Cursor(data[72:72 + directory_bytes])
    blocks = Cursor(data[72 + directory_bytes:])
    index = {"seekable": flags == 1, "shard_bytes": shard_bytes, "fingerprint": fingerprint, "samples": []}
    index["video_fields"] = [cursor.text().decode() for _ in range(cursor.number())]
    strings = [cursor.text() for _ in range(cursor.number())]
    profiles = [read_profile(cursor, strings) for _ in range(cursor.number())]
    ordinal = end = 0
    for _ in range(samples):
        sample = {"ordinal": ordinal + cursor.number()}
        ordinal = sample["ordinal"] + 1
        sample["offset"] = end + cursor.signed()
        end = sample["end_offset"] = sample["offset"] + cursor.number()
        sample["key"] = cursor.text()
        sample["fields"] = []
        last = sample["offset"]
        for _ in range(cursor.number()):
            field = {"name": strings[cursor.number()]}
            bits = cursor.number()
            field["contiguous"] = not bits & 1
            field["written_name"] = strings[cursor.number()] if bits & 2 else field["name"]
            field["offset"] = last = last + cursor.signed()
            if field["contiguous"]:
                field["content_offset"] = field["offset"] + cursor.number()
            field["size"] = cursor.number()
            if field["contiguous"]:
                last = field["content_offset"] + padded(field["size"])
            sample["fields"].append(field)
        if cursor.number() == 1:
            sample["video"] = dict(profiles[cursor.number()], frame_count=cursor.number(),
                                   duration_seconds=struct.unpack("<d", cursor.take(8))[0])
            packets, keyframes, stored, raw = (cursor.number() for _ in range(4))
            sample["video"]["hash"] = cursor.take(8)
            sample["video"].update(read_block(blocks.take(stored), raw, packets, keyframes))
        else:
            sample["failure"] = strings[cursor.number()].decode()
            sample["message"] = cursor.text().decode(errors="replace")
            if cursor.number() == 1:
                sample["failure_offset"] = cursor.number()
        index["samples"].append(sample)
    assert cursor.left() == 0 and blocks.left() == 0
    return index
