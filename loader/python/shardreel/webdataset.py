"""Clips as WebDataset's users know samples: for pipelines and training loops written for it."""

import torch.utils.data

from . import _fields
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
      int, json, txt, npy (array); the rest stays bytes, which `webdataset.decode(partial=True)` takes.

    It is an IterableDataset: the source of a `webdataset.DataPipeline`, or the dataset of a DataLoader,
    which then makes the batches (`num_workers=0`, see ClipDataset). Iterating gives one epoch, again
    the next one (`epochs` is 0). `batches_per_epoch` and `len()` count clips.
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
        for batch in self._batches(torch.utils.data.get_worker_info()):
            yield self._sample(batch)

    def _sample(self, batch):
        key, shard = batch["key"][0], batch["shard"][0]
        sample = {"__key__": key, "__url__": shard, "__window__": batch.ids[0][3],
                  self._field: batch["video"][0], "frame_index": batch["frame_index"][0],
                  "pts": batch["pts"][0]}
        core = batch._batch
        for name in core.field_names:
            sample.setdefault(name, _fields.decode(name, core.field(name)[0], key, shard))
        return sample
