"""A batch as a mapping; everything in it is made when it is asked for."""

import collections.abc

from . import _fields

_RESERVED = ("video", "frame_index", "pts", "key", "shard")


def torch_tensor(tensor):
    """A torch.Tensor of the same memory."""
    import torch
    return torch.from_dlpack(tensor)


def numpy_array(tensor):
    """A numpy array of the same memory; read-only, as numpy makes it of foreign memory."""
    import numpy
    return numpy.from_dlpack(tensor)


def raw_tensor(tensor):
    """The object itself: it has `__dlpack__`, `shape` and `data_ptr`."""
    return tensor


class Batch(collections.abc.Mapping):
    """B clips and their facts, by name.

    - ``video``: tensor [B, T, H, W, C], [B, T, C, H, W] or [B, C, T, H, W] by `layout`; uint8, or
      float16/float32 by `dtype`. The loader's own memory, on the lane's `device`: it goes back when the
      last tensor that was made of it dies, so keep at most `held_batches` batches at a time, or copy. On a
      GPU torch's current stream finds it there; numpy cannot take it.
    - ``frame_index``: int64 [B, T], in display order, from 0; ``pts``: float64 [B, T], seconds.
    - ``key``, ``shard``: lists of B texts.
    - every other field of the samples, by the last part of its name: ``cls`` and such (cls cls2 index
      inx id) int64 [B]; ``npy`` numpy array [B, ...]; ``json`` list of values; ``txt`` list of texts;
      the rest list of bytes. Where arrays differ in shape or type, and where a sample lacks the field
      (None), they are lists, too. Content that its name does not fit raises DataError when it is
      asked for.

    Attributes: `epoch`, `index` (of the batch in its epoch), `ids` (list of (epoch, shard, sample,
    window)), `corrupt` (list of B), `device`.
    """

    def __init__(self, batch, to_tensor, make_integers):
        self._batch, self._to_tensor, self._make_integers = batch, to_tensor, make_integers
        self._made = {}

    def __getitem__(self, name):
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    def _make(self, name):
        if name in ("video", "frame_index", "pts"):
            return self._to_tensor(getattr(self._batch, name))
        if name == "key":
            return self._batch.keys
        if name == "shard":
            return self._batch.shards
        if name not in self._batch.field_names:
            raise KeyError(name)
        values = [_fields.decode(name, content, key, shard) for content, key, shard in
                  zip(self._batch.field(name), self["key"], self["shard"])]
        return _fields.collate(name, values, self._make_integers)

    def __iter__(self):
        yield from _RESERVED
        yield from (name for name in self._batch.field_names if name not in _RESERVED)

    def __len__(self):
        return sum(1 for _ in self)

    def __repr__(self):
        shape = tuple(self._batch.video.shape)
        return f"<shardreel.Batch {self.index} of epoch {self.epoch}: video {shape}>"

    @property
    def epoch(self):
        return self._batch.epoch

    @property
    def index(self):
        return self._batch.index

    @property
    def ids(self):
        return self._batch.ids

    @property
    def corrupt(self):
        return self._batch.corrupt

    @property
    def device(self):
        return self._batch.device
