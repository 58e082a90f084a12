"""Random archives: every dialect and type flag, odd names, sparse files, compressions; whole or
damaged. The same seed gives the same archives."""
import bz2
import gzip
import io
import lzma
import tarfile

import vectors

KEYS = ["a", "b", "c", "a", "b", "d/a", "d.v1/a", "./a", "/a", "a//b", "__x__", "__x__/a", "x/__y__/a",
        "__meta__", "d/", "d/.h", "über", "日本", "longer/" * 30 + "a", "n" * 120, "n" * 97, "\udcff\udcfe",
        "x\udce9/a", "x\ny", "A", "a b", "", ".", ".."]
FIELDS = ["jpg", "JPG", "txt", "cls", "json", "seg.png", "", ".x", "__bad__", "__key__", "__url__",
          "__local_path__", "É", "é", "\udcff", "x\n", "mp4", "Ж"]
SIZES = [0, 1, 5, 100, 511, 512, 513, 1024, 3000]
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def raw(text):
    return text.encode("utf-8", "surrogateescape")


def hexed(data):
    return {"hex": data.hex()}


def name(rng):
    if rng.random() < 0.08:
        return "".join(rng.choice("ab./_.A\n") for _ in range(rng.randrange(1, 10)))
    if rng.random() < 0.05:
        return rng.choice(["README", "__meta__", "__index__", "dir/__meta__", ".hidden", "d/.h", "x"])
    return rng.choice(KEYS[:6] if rng.random() < 0.7 else KEYS) + "." + \
        rng.choice(FIELDS[:5] if rng.random() < 0.7 else FIELDS)


def file_name(rng):
    """Strict takes a name that ends in a slash for a folder's; no writer gives one to a file."""
    text = name(rng)
    rng.odd |= text.endswith("/")
    return text


def content(rng):
    size = rng.choice(SIZES)
    return rng.randbytes(size) if rng.random() < 0.7 else bytes([rng.randrange(256)]) * size


def tarfile_member(rng):
    """As Python's own writer has it."""
    info = tarfile.TarInfo(file_name(rng))
    data = content(rng)
    info.size = len(data)
    info.mtime = rng.choice([0, 1700000000, 1.5])
    if rng.random() < 0.1:
        info.pax_headers = {rng.choice(["comment", "SCHILY.xattr.user.x", "VENDOR.y"]):
                            "x" * rng.randrange(700)}
    try:
        return info.tobuf(rng.choice(FORMATS), "utf-8", "surrogateescape") + vectors.padded(data)
    except (ValueError, UnicodeEncodeError):
        return b""


def raw_member(rng, **more):
    member = {"member": hexed(raw(file_name(rng))[:100]), "content": hexed(content(rng)),
              "format": rng.choice(["ustar", "gnu", "v7"])}
    member.update(more)
    if rng.random() < 0.1:
        rng.odd |= member["format"] != "ustar"  # nobody else joins a prefix in other headers
        member["prefix"] = rng.choice(["p", "p.q/r", "p" * 155])
    return vectors.materialise(member)


def no_content(rng):
    size = rng.choice([0, 0, 0, 512])
    rng.odd |= size > 0  # libarchive guesses whether content follows a hard link
    return vectors.materialise({"member": hexed(raw(name(rng))[:100]), "linkname": "a.jpg",
                                "type": rng.choice("123456"), "size": size})


def odd_type(rng):
    kind = rng.choice([b"\0", b"7", b"7", b"Z", b"A", b"V", b"8", b"\xff"])
    rng.odd |= kind in (b"A", b"V", b"\xff")  # strict refuses them where they are not what they say
    return raw_member(rng, type=hexed(kind))


def pax_member(rng):
    records = []
    for _ in range(rng.randrange(1, 4)):
        records.append(rng.choice([
            ["path", hexed(raw(file_name(rng)))], ["path", "p.jpg"], ["mtime", "1.5"], ["uid", "77777777777"],
            ["comment", "c" * rng.randrange(600)], ["hdrcharset", "BINARY"], ["gname", "ü"],
            ["linkpath", "l"], ["SCHILY.xattr.user.a", hexed(rng.randbytes(9))], ["a.b", ""]]))
    return vectors.materialise({"pax": records, "type": rng.choice("xxxg" if len(records) == 1 and
                                records[0][0] == "comment" else "xxxX")}) + raw_member(rng)


def gnu_long(rng):
    kinds = rng.choice(["L", "L", "K", "KL", "LK"])
    out = b""
    for kind in kinds:
        text = raw(file_name(rng)) if rng.random() < 0.5 else b"n" * rng.randrange(90, 600) + b".jpg"
        out += vectors.materialise({"member": "././@LongLink", "type": kind, "format": "gnu",
                                    "content": hexed(text + b"\0")})
    return out + raw_member(rng, format="gnu")


def sparse(rng):
    """The same file in one of the four forms."""
    parts, at = [], rng.choice([0, 512, 1000])
    for _ in range(rng.randrange(1, 4)):
        size = rng.choice([512, 1024])
        parts.append((at, size))
        at += size + rng.choice([512, 3000])
    real = at
    data = rng.randbytes(sum(size for _, size in parts))
    base = hexed(raw(file_name(rng))[:80])
    form = rng.choice(["gnu", "0.0", "0.1", "1.0"])
    if form == "gnu":
        patches = [[483, "%011o" % real]]
        for i, (offset, size) in enumerate(parts):
            patches += [[386 + 24 * i, "%011o" % offset], [398 + 24 * i, "%011o" % size]]
        return vectors.materialise({"member": base, "type": "S", "format": "gnu", "content": hexed(data),
                                    "patches": patches})
    records = [["GNU.sparse.name", base]]
    if form == "0.0":
        records = [["GNU.sparse.size", str(real)], ["GNU.sparse.numblocks", str(len(parts))]]
        for offset, size in parts:
            records += [["GNU.sparse.offset", str(offset)], ["GNU.sparse.numbytes", str(size)]]
    elif form == "0.1":
        records += [["GNU.sparse.size", str(real)], ["GNU.sparse.numblocks", str(len(parts))],
                    ["GNU.sparse.map", ",".join(f"{a},{b}" for a, b in parts)]]
    else:
        records += [["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.realsize", str(real)]]
        head = f"{len(parts)}\n" + "".join(f"{a}\n{b}\n" for a, b in parts)
        data = vectors.padded(head.encode()) + data
    return vectors.materialise([{"pax": records},
                                {"member": base if form == "0.0" else "GNUSparseFile.0/x",
                                 "content": hexed(data)}])


def members(rng):
    makers = [tarfile_member] * 6 + [raw_member] * 5 + [no_content, odd_type, pax_member, pax_member,
                                                         gnu_long, sparse]
    parts = [rng.choice(makers)(rng) for _ in range(rng.randrange(1, 12))]
    if rng.random() < 0.15:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(parts))
    if rng.random() < 0.1:
        rng.shuffle(parts)
    if rng.random() < 0.05:
        parts.insert(0, vectors.materialise({"pax": [["comment", "global"]], "type": "g"}))
    return parts


def flip(rng, data, first, end):
    if end > first:
        data[rng.randrange(first, end)] ^= 1 << rng.randrange(8)


def seal(data, at):
    """Make the checksum of the header there right again."""
    data[at + 148:at + 156] = b" " * 8
    data[at + 148:at + 156] = b"%06o\0 " % sum(data[at:at + 512])


def damage(rng, parts, data):
    """One kind of damage; its name."""
    kind = rng.choice(["cut_block", "cut_byte", "cut_byte", "flip_header", "flip_sealed", "flip_data",
                       "flip_pax", "zero_block", "lost_block", "twice_block", "noise_block", "behind",
                       "joined"])
    offsets, at = [], 0
    for part in parts:
        offsets.append(at)
        at += len(part)
    start = rng.choice(offsets)
    blocks = len(data) // 512
    place = rng.randrange(max(blocks, 1)) * 512
    if kind == "cut_block":
        del data[place:]
    elif kind == "cut_byte":
        del data[rng.randrange(len(data) + 1):]
    elif kind == "flip_header":
        flip(rng, data, start, min(start + 512, len(data)))
    elif kind == "flip_sealed" and start + 512 <= len(data):
        flip(rng, data, start, start + 512)
        seal(data, start)
    elif kind == "flip_data":
        flip(rng, data, 0, len(data))
    elif kind == "flip_pax":
        found = [o for o, p in zip(offsets, parts) if p[156:157] in (b"x", b"L") and o + 600 < len(data)]
        if found:
            start = rng.choice(found)
            flip(rng, data, start + 512, start + 600)
    elif kind == "zero_block":
        data[place:place] = bytes(512)
    elif kind == "lost_block":
        del data[place:place + 512]
    elif kind == "twice_block":
        data[place:place] = data[place:place + 512]
    elif kind == "noise_block":
        data[place:place + 512] = rng.randbytes(512)
    elif kind == "behind":
        data += rng.randbytes(rng.choice([1, 512, 3000]))
    elif kind == "joined":
        data += b"".join(members(rng)) + bytes(1024)
    return kind


def archive(rng):
    """(bytes, what was done to it); nothing was done to an intact one. rng.odd: something in it is of
    a kind that strict may refuse or see in another way although nothing is damaged."""
    rng.odd = False
    parts = members(rng)
    data = bytearray(b"".join(parts))
    done = []
    data += bytes(1024)
    if rng.random() < 0.5:
        data += bytes(-len(data) % 10240)
    if rng.random() < 0.55:
        done.append(damage(rng, parts, data))
    compress = rng.choice([None] * 6 + [gzip.compress, bz2.compress, lzma.compress])
    if compress is None:
        return bytes(data), done
    if compress is gzip.compress and rng.random() < 0.1:
        middle = rng.randrange(len(data) + 1)
        done.append("two_gzip")
        packed = bytearray(gzip.compress(data[:middle], mtime=0) + gzip.compress(data[middle:], mtime=0))
    else:
        packed = bytearray(gzip.compress(data, mtime=0) if compress is gzip.compress else compress(data))
    change = rng.random()
    if change < 0.1:
        done.append("cut_packed")
        del packed[rng.randrange(len(packed)):]
    elif change < 0.2:
        done.append("flip_packed")
        flip(rng, packed, 0, len(packed))
    elif change < 0.23:
        done.append("behind_packed")
        packed += rng.randbytes(rng.choice([1, 100, 20000]))
    return bytes(packed), done
