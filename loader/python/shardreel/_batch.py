"""A batch by names, as a dict has them; everything in it is made when it is asked for."""

import collections.abc

from . import _fields
from ._errors import DataError, OptionError

_TENSORS = ("video", "frame_index", "pts")
_RESERVED = (*_TENSORS, "key", "shard")


def _torch(tensor):
    """A torch.Tensor of the same memory."""
    import torch
    return torch.from_dlpack(tensor)


def _torch_integers(values):
    import torch
    return torch.tensor(values)


def _numpy(tensor):
    """A numpy array of the same memory; read-only, as numpy makes it of foreign memory."""
    import numpy
    return numpy.from_dlpack(tensor)


def _numpy_integers(values):
    import numpy
    return numpy.array(values)


def _itself(tensor):
    """The object itself: it has `__dlpack__`, `shape` and `data_ptr`."""
    return tensor


# The name of the `tensors` option: what makes a tensor, and one of integers.
_MAKERS = {"torch": (_torch, _torch_integers), "numpy": (_numpy, _numpy_integers), "dlpack": (_itself, list)}


def tensor_kind(tensors):
    """The kind that `tensors` stands for. ImportError where its library is missing."""
    if tensors == "auto":
        try:
            import torch  # noqa: F401
            return "torch"
        except ImportError:
            tensors = "numpy"
    if tensors not in _MAKERS:
        raise OptionError(f"tensors is '{tensors}'; expected auto, torch, numpy or dlpack", "invalid_option")
    if tensors != "dlpack":
        __import__(tensors)
    return tensors


class _Record:
    """What a batch of the core has, apart from it: for another process, or of some of the clips only."""

    def __init__(self, batch, rows=None, change=_itself):
        def some(values):
            return values if rows is None else [values[row] for row in rows]
        core = batch._batch
        for name in _TENSORS:
            setattr(self, name, change(batch[name] if rows is None else batch[name][rows]))
        for name in ("keys", "shards", "ids", "corrupt"):
            setattr(self, name, some(getattr(core, name)))
        self.epoch, self.index, self.device = core.epoch, core.index, core.device
        self._fields = {name: some(core.field(_raw_name(name))) for name in core.field_names}

    @property
    def field_names(self):
        return list(self._fields)

    def field(self, name):
        return self._fields[name.decode("utf-8", "surrogateescape")]


def _raw_name(name):
    """As it is in the shard: a name that is not UTF-8 comes as file names do."""
    return name.encode("utf-8", "surrogateescape")


class Batch:
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
      (None), they are lists, too. A field is decoded when it is asked for. Content that its name does not
      fit raises DataError then, or what `on_field_error` says.

    Attributes: `epoch`, `index` (of the batch in its epoch), `ids` (list of (epoch, shard, sample,
    window)), `corrupt` (list of B), `device`.

    It has a mapping's methods, and `dict(batch)` makes everything. A `Mapping` by type it is not: torch's
    DataLoader would make a dict of it, and decode what nobody asked for.
    """

    def __init__(self, batch, tensors, policy):
        self._batch, self._tensors, self._policy = batch, tensors, policy
        self._made = {}

    def __getitem__(self, name):
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    def _make(self, name):
        to_tensor, make_integers = _MAKERS[self._tensors]
        if name in _TENSORS:
            tensor = getattr(self._batch, name)
            return tensor if isinstance(self._batch, _Record) else to_tensor(tensor)
        if name == "key":
            return self._batch.keys
        if name == "shard":
            return self._batch.shards
        if name not in self._batch.field_names:
            raise KeyError(name)
        values = [self._policy.decode(name, *of) for of in self._contents(name)]
        return _fields.collate(name, values, make_integers)

    def _contents(self, name):
        """(content, key, shard) of each clip."""
        return zip(self._batch.field(_raw_name(name)), self["key"], self["shard"])

    def contents_of(self, row):
        """{name: bytes} of the fields that one clip has."""
        contents = {name: self._batch.field(_raw_name(name))[row] for name in self._batch.field_names}
        return {name: content for name, content in contents.items() if content is not None}

    def without_broken(self):
        """This batch, or one without the clips that the policy leaves out; None when none is left."""
        names = [name for name in self._batch.field_names if self._policy.rule(name) == "skip"]
        decoded, rows = {name: [] for name in names}, []
        for row, contents in enumerate(zip(*(self._contents(name) for name in names))):
            try:
                values = [self._policy.decode(name, *of) for name, of in zip(names, contents)]
            except DataError:
                continue
            rows.append(row)
            for name, value in zip(names, values):
                decoded[name].append(value)
        kept = self
        if names and len(rows) < len(self["key"]):
            if not rows:
                return None
            kept = Batch(_Record(self, rows), self._tensors, self._policy)
        for name, values in decoded.items():
            kept._made[name] = _fields.collate(name, values, _MAKERS[self._tensors][1])
        return kept

    def apart(self):
        """A batch that can go to another process: its tensors are made, its fields are not."""
        return Batch(_Record(self), self._tensors, self._policy)

    def pin_memory(self, *_):
        """The batch in page-locked memory, for DataLoader(pin_memory=True); of torch tensors only."""
        return Batch(_Record(self, change=lambda tensor: tensor.pin_memory()), self._tensors, self._policy)

    def __reduce__(self):
        batch = self._batch if isinstance(self._batch, _Record) else _Record(self)
        return Batch, (batch, self._tensors, self._policy)

    def __iter__(self):
        yield from _RESERVED
        yield from (name for name in self._batch.field_names if name not in _RESERVED)

    def __len__(self):
        return sum(1 for _ in self)

    def __contains__(self, name):
        return name in _RESERVED or name in self._batch.field_names

    def get(self, name, default=None):
        return self[name] if name in self else default

    def keys(self):
        return collections.abc.KeysView(self)

    def values(self):
        return collections.abc.ValuesView(self)

    def items(self):
        return collections.abc.ItemsView(self)

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
