"""shardreel inside torch.utils.data: a dataset whose items are whole batches."""

import json
import multiprocessing
import os
import warnings

import torch.utils.data

from ._errors import OptionError, ShardreelError
from ._loader import Loader
from ._passes import Passes


class _Source(Loader):
    """The loader of a dataset; workers learn from `passes` where to go on."""

    def __init__(self, urls, **options):
        super().__init__(urls, **options)
        self.passes = Passes(self._options.get("epoch", 0))

    def set_epoch(self, epoch):
        super().set_epoch(epoch)
        self.passes.set(self._epoch)

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.passes.set(self.epoch, resumes=True)

    def state_dict(self):
        if self.passes.last_was_a_workers():
            raise ShardreelError("state_dict: the last batches came from worker processes, which run ahead of what "
                                 "was trained on; use num_workers=0 to be resumed within an epoch", "stopped")
        return super().state_dict()

    def iterate(self, lane=0, progress=None):
        if lane == 0:  # behind the passes of workers, and they behind this one
            epoch = self.open()._core.epoch() + (1 if self._partway else 0)
            theirs = self.passes.next_epoch()
            if theirs > epoch:
                self.set_epoch(theirs)
            self.passes.set(max(epoch, theirs) + 1)
        yield from super().iterate(lane, progress)

    def __reduce__(self):
        return _remake_source, (super().__reduce__(), self.passes, self._policy)


def _remake_source(reduced, passes, policy):
    make, arguments = reduced
    source = make(*arguments)
    source.passes, source._policy = passes, policy
    return source


class ClipDataset(torch.utils.data.IterableDataset):
    """The batches of a loader as a dataset, for `DataLoader(dataset, batch_size=None)`.

    Takes what `shardreel.Loader` takes; each pass over it is one whole epoch, as of the loader, and what
    comes out are `shardreel.Batch`es. Use `num_workers=0`: the loader has its own threads, and a worker
    process only adds a copy of every batch. With workers, each becomes a rank of its own, so that no clip
    comes twice, with its part of the memory and of `batches_per_epoch`; a warning says so. They deliver
    the epoch that `set_epoch` says, or else the one behind the last.
    """

    def __init__(self, urls, **options):
        super().__init__()
        self._loader = _Source(urls, **options)
        self._process = os.getpid()
        self._worker_loader = None  # of this process, where it is a worker
        self._worker_passes = 0

    @property
    def loader(self):
        return self._loader

    def set_epoch(self, epoch):
        self._loader.set_epoch(epoch)

    def state_dict(self):
        """See Loader.state_dict; not with worker processes, which run ahead of what was trained on."""
        self._expect_no_worker("state_dict")
        return self._loader.state_dict()

    def load_state_dict(self, state):
        """See Loader.load_state_dict; the next pass is the rest of the state's epoch."""
        self._expect_no_worker("load_state_dict")
        self._loader.load_state_dict(state)

    def __iter__(self):
        return self._batches()

    def __bool__(self):
        return True  # not whether it has batches

    def __len__(self):
        return len(self._loader)

    def _batches(self):
        """The batches of one pass. Which epoch that is, workers decide at once: all of a pass have begun
        before the next one is."""
        worker = self._worker()
        if worker is None:
            return iter(self._loader)
        turn = (worker.seed - worker.id, worker.num_workers, self._worker_passes)
        self._worker_passes += 1
        return self._batches_of_worker(worker, *self._loader.passes.begin(turn, worker.id, _trainer()))

    def _batches_of_worker(self, worker, epoch, resumes):
        if self._worker_loader is None:
            if self._loader._kind == "dlpack":
                raise OptionError("tensors is 'dlpack', which cannot go from a worker process to another; expected "
                                  "torch or numpy", "invalid_option")
            options = self._worker_options(worker)
            if options is None:
                return
            self._worker_loader = Loader(**options, tensors=self._loader._tensors)
            self._worker_loader._policy = self._loader._policy
        loader = self._worker_loader
        if resumes:
            try:
                loader.load_state_dict(json.loads(self._loader._state))
            except OptionError as failed:
                raise OptionError(f"the state that was loaded is that of one rank, and worker {worker.id} of "
                                  f"{worker.num_workers} is another: {failed}. Go on with num_workers=0, or "
                                  "set_epoch() to begin an epoch", failed.code) from failed
        elif loader._partway or loader.epoch != epoch:
            loader.set_epoch(epoch)
        for batch in loader:
            yield batch.apart()

    def _worker(self):
        """What DataLoader says of this worker process; None where the dataset was made in this one."""
        return None if self._process == os.getpid() else torch.utils.data.get_worker_info()

    def _expect_no_worker(self, doing):
        if self._worker() is not None:
            raise ShardreelError(f"{doing}: not in a DataLoader's worker process; call it in the process that has the "
                                 "DataLoader, with num_workers=0", "stopped")

    def _worker_options(self, worker):
        """Those of the rank that the worker is; None where it has nothing to give."""
        workers = worker.num_workers
        warnings.warn(
            f"shardreel runs in {workers} DataLoader worker processes: each decodes its own "
            "part of the shards and every batch is copied between processes. num_workers=0 is faster: "
            "the loader has threads of its own", stacklevel=3)
        options = dict(self._loader._options)
        if workers == 1:
            return options
        batches = options.get("batches_per_epoch")
        if batches is not None:
            options["batches_per_epoch"] = (batches + workers - 1 - worker.id) // workers
            if options["batches_per_epoch"] == 0:
                return None
        # The launcher's rank first, then the worker's within it.
        with Loader(**self._loader._options, tensors="dlpack") as probe:
            resolved = probe.options
        options["world_size"] = resolved["world_size"] * workers
        options["rank"] = resolved["rank"] * workers + worker.id
        options["memory_bytes"] = int(resolved["memory_bytes"]) // workers
        if resolved.get("shuffle_bytes"):
            options["shuffle_bytes"] = int(resolved["shuffle_bytes"]) // workers
        options.setdefault("ranks", "exact")
        return options


def _trainer():
    """The process that has the DataLoader whose worker this one is."""
    parent = multiprocessing.parent_process()
    return os.getppid() if parent is None else parent.pid
