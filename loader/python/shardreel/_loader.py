"""The loader: options in, batches out."""

import atexit
import contextlib
import json
import logging
import operator
import os
import threading
import weakref

from . import _shardreel
from ._batch import Batch, tensor_kind
from ._errors import OptionError, ShardreelError
from ._fields import FieldPolicy

_log = logging.getLogger("shardreel")
_loaders = weakref.WeakSet()


def _forward_log(warning, line):
    _log.log(logging.WARNING if warning else logging.INFO, "%s", line)


def _plain(value):
    """What numpy, torch and pathlib have, as JSON has it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} is of type {type(value).__name__}")


def _to_json(options):
    if isinstance(options.get("urls"), (str, os.PathLike)):
        options = dict(options, urls=[options["urls"]])
    try:
        return json.dumps({name: value for name, value in options.items() if value is not None},
                          default=_plain)
    except (TypeError, ValueError) as failed:
        raise OptionError(f"options: expected text, numbers, lists of them or None; {failed}",
                          "invalid_option") from None


def _epoch_number(epoch):
    try:
        number = operator.index(epoch)
    except TypeError:
        number = -1
    if not 0 <= number < 2**63:
        raise OptionError(f"set_epoch: epoch is {epoch!r}; expected a whole number from 0", "invalid_option")
    return number


class Loader:
    """Feeds batches of video clips from WebDataset tar shards.

    ``Loader(urls, num_frames=16, width=224, height=224, batch_size=8, ...)``: every option of
    docs/options.md is a keyword argument; None leaves it at its default. `tensors` says what tensors
    are made as: "torch", "numpy", "dlpack" (bare), or "auto" (torch where it can be imported).
    `on_field_error` says what becomes of a field whose content does not fit its name: "fail" (DataError
    when it is asked for), "skip" (the clip is left out), `Default(value)`; or a dict of them by fields'
    names, with "*" for the others. Options are checked at once, shards are opened with the first batch
    that is asked for.

    Each `for` gives the batches (`Batch`) of one whole epoch, the next one each time, also after a
    `break`; only behind a loaded state it gives the rest of that state's epoch. `next()` takes batches
    as a stream. Every process is one rank (or one for each device): rank and world size come from
    torchrun, Slurm or Open MPI unless they are given.

    Raises OptionError, BudgetError; while iterating DataError, StoppedError.
    """

    def __init__(self, urls, *, tensors="auto", on_field_error=None, **options):
        text = _to_json(dict(options, urls=urls))
        self._options = json.loads(text)
        self._tensors, self._kind = tensors, tensor_kind(tensors)
        self._policy = FieldPolicy(on_field_error)
        if self._policy.skips and self._kind == "dlpack":
            raise OptionError("on_field_error is 'skip' and tensors is 'dlpack', from which no clip can be taken; "
                              "expected torch or numpy", "invalid_option")
        self._core, self._process, self._epoch, self._closed = None, None, None, False
        self._state = ""  # JSON: to be opened from, or of the last batch before it was closed
        self._moved = False  # whether a batch was given, or a state loaded, since it was opened or an epoch set
        self._partway = set()  # lanes of which a batch of the current epoch was given
        self._turns = {}  # what tells the last `for` of each lane from those before
        self._lock = threading.RLock()  # opening and closing
        self._lane_locks = {}  # whoever takes a batch of a lane
        problems = _shardreel.check_options(text)
        if problems:
            raise OptionError("\n".join(problems), "invalid_option")
        _loaders.add(self)

    # --- opening and closing

    def open(self):
        """Open the shards and begin to read ahead, if that has not been done; returns self."""
        self._expect_open()  # at once, for those whom closing waits for
        if self._core is not None and self._process != os.getpid():
            raise ShardreelError(
                "this loader was opened before a fork: its threads are the parent's. Open it in the "
                "process that uses it (make the Loader there, or use DataLoader(num_workers=0))",
                "stopped")
        with self._lock:  # of threads that ask at once, one opens
            self._expect_open()
            if self._core is None:
                core = _shardreel.Loader(_to_json(self._options), _forward_log, self._state)
                if self._epoch is not None:
                    core.set_epoch(self._epoch)
                self._max_skip_ratio = json.loads(core.options)["max_skip_ratio"]
                self._process = os.getpid()
                self._core = core
        return self

    def _expect_open(self):
        if self._closed:
            raise ShardreelError("the loader is closed; make a new one", "stopped")

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
        with self._lock:
            was_open = self._core is not None and self._process == os.getpid() and not self._closed
            self._closed = True
            if not was_open:
                return
            self._core.stop()
            with contextlib.ExitStack() as taking:
                for lock in list(self._lane_locks.values()):  # whoever waits for a batch has left first
                    taking.enter_context(lock)
                self._state = self._core.state()
                self._core.close()

    def __enter__(self):
        return self.open()

    def __exit__(self, *_):
        self.close()

    # --- batches

    def next(self, lane=0):
        """The lane's next batch; None at the end of an epoch, and ever again after the last (`epochs`). Waits
        without holding the interpreter. Threads may share a lane: each batch goes to one of them."""
        core = self.open()._core
        while True:
            with self._lane_locks.setdefault(lane, threading.RLock()):  # of one lane, one thread at a time
                given = core.next(lane)
                self._moved = True
                if given is None:
                    self._partway.discard(lane)
                    return None
                self._partway.add(lane)
            batch = Batch(given, self._kind, self._policy)
            if not self._policy.skips:
                return batch
            kept = batch.without_broken()
            left = 0 if kept is None else len(kept["key"])
            self._policy.judge(len(given), len(given) - left, self._max_skip_ratio)
            if kept is not None:
                return kept

    def __iter__(self):
        return self.iterate()

    def iterate(self, lane=0, progress=None):
        """The batches of one epoch of one lane, as `for` gives them. `progress(clips)` is called with the clips
        of each batch, e.g. tqdm's `update`."""
        core = self.open()._core
        if lane in self._partway:
            core.set_epoch(core.epoch(lane) + 1, lane)
            self._partway.discard(lane)
        epoch = core.epoch(lane)
        turn = self._turns[lane] = object()
        batch = self.next(lane)
        if batch is None and core.epoch(lane) == epoch:  # `epochs` are over
            core.set_epoch(epoch, lane)
            batch = self.next(lane)
        while batch is not None:
            if progress is not None:
                progress(len(batch["key"]))
            yield batch
            batch = None  # its memory is wanted
            if self._turns[lane] is not turn:
                raise ShardreelError("another iteration of this loader has begun, which ended this one; threads that "
                                     "share an epoch call next()", "stopped")
            batch = self.next(lane)

    def __bool__(self):
        return True  # not whether it has batches

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
        epoch = _epoch_number(epoch)
        with self._lock:
            self._epoch = epoch
            if self._core is not None:
                self.open()._core.set_epoch(epoch)
                self._partway.clear()
                self._moved = False
            else:
                self._state = ""

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
        self._expect_open()
        text = json.dumps(state)
        if self._core is not None:
            core, self._core = self._core, None
            if self._process == os.getpid():
                core.close()
        self._state, self._epoch, self._moved = text, None, True
        self._partway.clear()
        try:
            self.open()
        except ShardreelError:
            self._state, self._moved = "", False
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
        return {**self.open()._core.metrics(), "bad_fields": self._policy.counts}

    def plan(self):
        """The memory plan as a dict; nothing is opened."""
        return json.loads(_shardreel.plan(_to_json(self._options)))

    # --- what is carried to another process: the options and where it stands, never what is open

    def __reduce__(self):
        return _remake, (type(self), *self._carried())

    def _carried(self):
        state, epoch = self._state, self._epoch
        if self._core is not None and self._process == os.getpid():
            with self._lock:
                if not self._closed:
                    state = self._core.state()
            state, epoch = (state, None) if self._moved else ("", epoch)
        return self._options, self._tensors, self._policy.given, state, epoch

    def __repr__(self):
        state = "closed" if self._closed else "open" if self._core is not None else "not open yet"
        return f"<shardreel.Loader of {self._options['urls']!r}, {state}>"


def _remake(kind, options, tensors, on_field_error, state, epoch):
    loader = kind(tensors=tensors, on_field_error=on_field_error, **options)
    loader._state, loader._epoch, loader._moved = state, epoch, bool(state)
    return loader


def _close_all():
    # Before the interpreter goes: threads of a loader may want to log.
    with contextlib.ExitStack() as stack:  # all of them, whatever a log callback raised
        for loader in list(_loaders):
            stack.callback(loader.close)


def _abandon_all():
    for loader in list(_loaders):
        loader._lock, loader._lane_locks = threading.RLock(), {}  # whoever had them is not here
        if loader._core is not None:
            loader._core.abandon()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_abandon_all)
