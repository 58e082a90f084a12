"""Clips as WebDataset's users know samples: for pipelines and training loops written for it."""

import collections.abc

from ._errors import OptionError
from .pytorch import ClipDataset


class ClipSamples(ClipDataset):
    """Clips one by one, as dicts with the names of WebDataset's decoded samples.

    Takes what `shardreel.Loader` takes, except batch_size, and `field`, the name under which the
    clip's pixels stand (whatever the video's name was in the shard). A sample has

    - ``__key__``, ``__url__``: of the sample in its shard, as webdataset has them. All clips of one video
      have the same; ``__window__`` counts them from 0.
    - `field` ("mp4"): the clip, uint8 [T, H, W, C] (`layout`, `dtype`). Its memory is the loader's and
      goes back when the tensor dies; nothing is copied.
    - ``frame_index`` int64 [T], ``pts`` float64 [T] in seconds.
    - the sample's other fields, decoded by their names as webdataset's `.decode()` does: cls and such
      int, json, txt, npy (array); the rest stays bytes, which `webdataset.decode(partial=True)` takes. A
      field is decoded when it is asked for; `on_field_error` says what becomes of one that cannot be.

    It is an IterableDataset: the source of a `webdataset.DataPipeline`, or the dataset of a DataLoader,
    which then makes the batches (`num_workers=0`, see ClipDataset). Each pass is a whole epoch; `epochs`
    is 0, so that the next one is read ahead. `batches_per_epoch` and `len()` count clips.
    """

    def __init__(self, urls, *, field="mp4", **options):
        if "batch_size" in options:
            raise OptionError("batch_size: clips come one by one here; make batches behind them, by "
                              "DataLoader(batch_size=...) or .batched(...)", "invalid_option")
        if options.get("tensors") == "dlpack":
            raise OptionError("tensors is 'dlpack', which cannot be taken apart into clips; expected torch "
                              "or numpy", "invalid_option")
        # A batch in the making downstream holds its clips: enough for one of 16 without a warning.
        super().__init__(urls, **{"epochs": 0, "prefetch_batches": 16, "held_batches": 16, **options},
                         batch_size=1)
        self._field = field

    def __iter__(self):
        return map(self._sample, self._batches())

    def _sample(self, batch):
        key, shard = batch["key"][0], batch["shard"][0]
        made = {"__key__": key, "__url__": shard, "__window__": batch.ids[0][3],
                self._field: batch["video"][0], "frame_index": batch["frame_index"][0],
                "pts": batch["pts"][0]}
        return _Sample(made, batch.contents_of(0), batch._policy, (key, shard))


class _Content:
    """Of a field that nobody has asked for yet."""

    def __init__(self, content):
        self.content = content


class _Sample(dict):
    """A dict that decodes its fields when they are asked for. What copies a dict without asking it for its
    values does ask one whose `__iter__` is its own."""

    def __init__(self, made, contents, policy, place):
        super().__init__({**{name: _Content(content) for name, content in contents.items()}, **made})
        self._policy, self._place = policy, place

    def __getitem__(self, name):
        value = super().__getitem__(name)
        if isinstance(value, _Content):
            value = self._policy.decode(name, value.content, *self._place)
            self[name] = value
        return value

    def __iter__(self):
        return super().__iter__()

    def get(self, name, default=None):
        return self[name] if name in self else default

    def setdefault(self, name, default=None):
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name, *default):
        if name in self:
            default = (self[name],)
        super().pop(name, None)
        if not default:
            raise KeyError(name)
        return default[0]

    def popitem(self):
        name = next(reversed(self), None)
        return name, self.pop(name)

    def values(self):
        return collections.abc.ValuesView(self)

    def items(self):
        return collections.abc.ItemsView(self)

    def copy(self):
        return self.__copy__()

    def __copy__(self):
        make, arguments = self.__reduce__()
        return make(*arguments)

    def __eq__(self, other):
        return dict(self) == other

    __hash__ = None

    def __ne__(self, other):
        return not self == other

    def __repr__(self):
        return repr(dict(self))

    def __reduce__(self):
        all_of_it = {name: super(_Sample, self).__getitem__(name) for name in self}
        made = {name: value for name, value in all_of_it.items() if not isinstance(value, _Content)}
        contents = {name: value.content for name, value in all_of_it.items() if isinstance(value, _Content)}
        return _Sample, (made, contents, self._policy, self._place)
