"""The byte expressions of the conformance vectors as bytes, written from README.md alone."""
import base64
import json
import pathlib

FOLDER = pathlib.Path(__file__).parent / "vectors"
BLOCK = 512
MAGIC = {"ustar": b"ustar\0" b"00", "gnu": b"ustar  \0", "v7": b""}


def load(kind):
    """Every vector of that kind, with the name of its file."""
    for path in sorted(FOLDER.glob("*.json")):
        for vector in json.loads(path.read_text("utf-8")).get(kind, []):
            yield path.name, vector


def padded(data):
    return data + bytes(-len(data) % BLOCK)


def header(member, name, content_bytes):
    block = bytearray(BLOCK)

    def put(at, data, most):
        data = data[:most]
        block[at:at + len(data)] = data

    size = member.get("size", content_bytes)
    put(0, name, 100)
    put(100, b"0000644", 8)
    put(108, b"0000000", 8)
    put(116, b"0000000", 8)
    put(124, b"%011o" % size if isinstance(size, int) else materialise(size), 12)
    put(136, b"00000000000", 12)
    put(148, b" " * 8, 8)
    put(156, materialise(member.get("type", "0")), 1)
    put(157, materialise(member.get("linkname", "")), 100)
    put(257, MAGIC[member.get("format", "ustar")], 8)
    put(345, materialise(member.get("prefix", "")), 155)
    for at, data in member.get("patches", []):
        put(at, materialise(data), BLOCK)
    checksum = b"%06o\0 " % sum(block)
    put(148, materialise(member["checksum"]) if "checksum" in member else checksum, 8)
    return bytes(block)


def pax_record(key, value):
    length = 0
    while True:
        record = b"%d %s=%s\n" % (length, key, value)
        if len(record) == length:
            return record
        length = len(record)


def materialise(expression):
    if isinstance(expression, str):
        return expression.encode("utf-8")
    if isinstance(expression, list):
        return b"".join(map(materialise, expression))
    if "hex" in expression:
        return bytes.fromhex(expression["hex"])
    if "base64" in expression:
        return base64.b64decode(expression["base64"])
    if "zeros" in expression:
        return bytes(expression["zeros"])
    if "end" in expression:
        return bytes(expression["end"] * BLOCK)
    if "member" in expression:
        content = materialise(expression.get("content", ""))
        block = header(expression, materialise(expression["member"]), len(content))
        return block + (padded(content) if expression.get("pad", True) else content)
    if "pax" in expression:
        records = b"".join(pax_record(*map(materialise, record)) if isinstance(record, list)
                           else materialise(record) for record in expression["pax"])
        member = dict(expression, type=expression.get("type", "x"))
        return header(member, b"PaxHeader", len(records)) + padded(records)
    if "repeat" in expression:
        return materialise(expression["repeat"]) * expression["times"]
    if "cut" in expression:
        return materialise(expression["cut"])[:expression["at"]]
    if "flip" in expression:
        data = bytearray(materialise(expression["flip"]))
        data[expression["byte"]] ^= 1 << expression.get("bit", 0)
        return bytes(data)
    raise ValueError(f"no byte expression: {expression}")
