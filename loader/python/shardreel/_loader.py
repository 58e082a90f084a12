"""The loader: options in, batches out."""

import atexit
import contextlib
import json
import logging
import os
import weakref

from . import _shardreel
from ._batch import Batch, numpy_array, raw_tensor, torch_tensor
from ._errors import OptionError, ShardreelError

_log = logging.getLogger("shardreel")
_open = weakref.WeakSet()


def _forward_log(warning, line):
    _log.log(logging.WARNING if warning else logging.INFO, "%s", line)


def _plain(value):
    """numpy's and pathlib's scalars as JSON has them."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r} is of type {type(value).__name__}")


def _to_json(options):
    if isinstance(options.get("urls"), (str, os.PathLike)):
        options = dict(options, urls=[options["urls"]])
    try:
        return json.dumps({name: value for name, value in options.items() if value is not None},
                          default=_plain)
    except TypeError as failed:
        raise OptionError(f"options: expected text, numbers, lists of them or None; {failed}",
                          "invalid_option") from None


def _maker(tensors):
    if tensors == "auto":
        try:
            import torch  # noqa: F401
            tensors = "torch"
        except ImportError:
            tensors = "numpy"
    if tensors == "torch":
        import torch
        return torch_tensor, torch.tensor
    if tensors == "numpy":
        import numpy
        return numpy_array, numpy.array
    if tensors == "dlpack":
        return raw_tensor, list
    raise OptionError(f"tensors is '{tensors}'; expected auto, torch, numpy or dlpack",
                      "invalid_option")


class Loader:
    """Feeds batches of video clips from WebDataset tar shards.

    ``Loader(urls, num_frames=16, width=224, height=224, batch_size=8, ...)``: every option of
    docs/options.md is a keyword argument; None leaves it at its default. `tensors` says what tensors
    are made as: "torch", "numpy", "dlpack" (bare), or "auto" (torch where it can be imported).
    Options are checked at once, shards are opened with the first batch that is asked for.

    Iterating gives the batches (`Batch`) of one epoch; iterating again gives the next. Every process is
    one rank (or one for each device): rank and world size come from torchrun, Slurm or Open MPI unless
    they are given.

    Raises OptionError, BudgetError; while iterating DataError, StoppedError.
    """

    def __init__(self, urls, *, tensors="auto", **options):
        self._options = dict(options, urls=urls)
        self._tensors = tensors
        self._to_tensor, self._make_integers = _maker(tensors)
        self._core, self._process, self._epoch, self._closed = None, None, None, False
        self._state = ""  # JSON: to be opened from, or of the last batch before it was closed
        problems = _shardreel.check_options(_to_json(self._options))
        if problems:
            raise OptionError("\n".join(problems), "invalid_option")

    # --- opening and closing

    def open(self):
        """Open the shards and begin to read ahead, if that has not been done; returns self."""
        if self._closed:
            raise ShardreelError("the loader is closed; make a new one", "stopped")
        if self._core is not None and self._process != os.getpid():
            raise ShardreelError(
                "this loader was opened before a fork: its threads are the parent's. Open it in the "
                "process that uses it (make the Loader there, or use DataLoader(num_workers=0))",
                "stopped")
        if self._core is None:
            self._core = _shardreel.Loader(_to_json(self._options), _forward_log, self._state)
            self._process = os.getpid()
            _open.add(self)
            if self._epoch is not None:
                self._core.set_epoch(self._epoch)
        return self

    def stop(self):
        """Stop everything; whoever waits for a batch gets StoppedError. Safe from any thread."""
        if self._core is not None and self._process == os.getpid():
            self._core.stop()

    def release_gpu(self):
        """Give back at once what lies idle of the GPUs' memory, and take none for two seconds at least: call it
        where the trainer ran out of memory, and try again. Returns the bytes that came; 0 without a GPU."""
        if self._core is None or self._process != os.getpid():
            return 0
        return self._core.release_gpu()

    def close(self):
        """Stop and give all memory back, except that of batches which are still held."""
        if self._core is not None and self._process == os.getpid() and not self._closed:
            self._state = self._core.state()
            self._closed = True
            self._core.close()
        self._closed = True

    def __enter__(self):
        return self.open()

    def __exit__(self, *_):
        self.close()

    # --- batches

    def next(self, lane=0):
        """The lane's next batch; None at the end of an epoch. Waits without holding the interpreter."""
        batch = self.open()._core.next(lane)
        return None if batch is None else Batch(batch, self._to_tensor, self._make_integers)

    def __iter__(self):
        return self.iterate()

    def iterate(self, lane=0, progress=None):
        """The batches of one epoch of one lane. `progress(clips)` is called with the clips of each
        batch, e.g. tqdm's `update`."""
        while (batch := self.next(lane)) is not None:
            if progress is not None:
                progress(len(batch["key"]))
            yield batch

    def __len__(self):
        """Batches of the current epoch (of the first lane): `batches_per_epoch`, or what the shards'
        indexes tell. TypeError where neither is there."""
        known = self._options.get("batches_per_epoch")
        if known is not None:
            return known
        core = self.open()._core
        size = core.epoch_size(core.epoch())
        if size is None:
            raise TypeError("how many batches an epoch has is not known; index the shards (`shardreel "
                            "index`) or give batches_per_epoch")
        return size[1]

    # --- state and facts

    @property
    def lanes(self):
        """Number of devices, each with batches of its own."""
        return self.open()._core.lanes

    @property
    def epoch(self):
        """The epoch that the next batch is of."""
        return self.open()._core.epoch()

    def set_epoch(self, epoch):
        """Begin `epoch` with the next batch; what was read ahead of another is discarded."""
        self._epoch = epoch
        if self._core is not None:
            self.open()._core.set_epoch(epoch)

    def state_dict(self):
        """Where the loader stands after the last batch it gave, as a dict to be saved with the model
        (`torch.save`, json); docs/determinism.md. Not what was read ahead: after a stop, an exception or
        SIGTERM it is still the state of that batch. Also of a closed loader."""
        if self._closed and not self._state:
            raise ShardreelError("the loader was closed before it was opened: it has no state", "stopped")
        return json.loads(self._state if self._closed else self.open()._core.state())

    def load_state_dict(self, state):
        """Go on behind the last batch of `state`, taken from a loader of the same options, shards, rank
        and world size: what comes is what would have come, byte for byte. OptionError says what
        differs."""
        if self._closed:
            raise ShardreelError("the loader is closed; make a new one", "stopped")
        text = json.dumps(state)
        if self._core is not None:
            core, self._core = self._core, None
            if self._process == os.getpid():
                core.close()
        self._state, self._epoch = text, None
        try:
            self.open()
        except ShardreelError:
            self._state = ""
            raise

    @property
    def options(self):
        """The options: those given before it is opened, all with their values afterwards."""
        if self._core is None:
            return json.loads(_to_json(self._options))
        return json.loads(self._core.options)

    @property
    def rank_source(self):
        """How rank and world size were decided."""
        return self.open()._core.rank_source

    def metrics(self):
        """Counts, waits, bytes and the slowest stage so far, as a dict (docs/python.md)."""
        return self.open()._core.metrics()

    def plan(self):
        """The memory plan as a dict; nothing is opened."""
        return json.loads(_shardreel.plan(_to_json(self._options)))

    # --- what is carried to another process: the options, never what is open

    def __reduce__(self):
        return _remake, (self._options, self._tensors, self._epoch)

    def __repr__(self):
        state = "closed" if self._closed else "open" if self._core is not None else "not open yet"
        return f"<shardreel.Loader of {self._options['urls']!r}, {state}>"


def _remake(options, tensors, epoch):
    loader = Loader(tensors=tensors, **options)
    loader._epoch = epoch
    return loader


def _close_all():
    # Before the interpreter goes: threads of a loader may want to log.
    with contextlib.ExitStack() as stack:  # all of them, whatever a log callback raised
        for loader in list(_open):
            stack.callback(loader.close)


def _abandon_all():
    for loader in list(_open):
        loader._core.abandon()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_abandon_all)
