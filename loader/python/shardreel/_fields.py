"""What the fields of samples become, by the last part of their names, as WebDataset decodes them."""

import io
import json

from ._errors import DataError


def _array(content):
    import numpy
    return numpy.load(io.BytesIO(content), allow_pickle=False)


_INTEGERS = ("cls", "cls2", "index", "inx", "id")
_DECODERS = {
    **{kind: int for kind in _INTEGERS},
    **{kind: json.loads for kind in ("json", "jsn")},
    **{kind: bytes.decode for kind in ("txt", "text", "transcript")},
    "npy": _array,
}


def _kind(name):
    return name.rsplit(".", 1)[-1]


def decode(name, content, key, shard):
    """The value of one field of one sample; None stays None, unknown kinds stay bytes."""
    decoder = _DECODERS.get(_kind(name))
    if content is None or decoder is None:
        return content
    try:
        return decoder(content)
    except (ValueError, EOFError, RecursionError) as failed:
        shown = content if len(content) <= 40 else content[:40] + b"..."
        raise DataError(f"shard {shard}, key {key}: field {name} cannot be decoded: {failed}; it is {shown!r}",
                        "bad_field", shard, key) from failed


def collate(name, values, make_integers):
    """One value for a batch: integers as a tensor, arrays of one shape and type as one array, everything
    else, and what is ragged or missing in places, as the list."""
    if any(value is None for value in values):
        return values
    if _kind(name) in _INTEGERS and all(-2**63 <= value < 2**63 for value in values):
        return make_integers(values)
    if _kind(name) == "npy" and len({(array.shape, array.dtype) for array in values}) == 1:
        import numpy
        return numpy.stack(values)
    return values
