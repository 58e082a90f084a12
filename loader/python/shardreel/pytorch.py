"""shardreel inside torch.utils.data: a dataset whose items are whole batches."""

import os
import warnings

import torch.utils.data

from ._loader import Loader


class ClipDataset(torch.utils.data.IterableDataset):
    """The batches of a loader as a dataset, for `DataLoader(dataset, batch_size=None)`.

    Takes what `shardreel.Loader` takes. Use `num_workers=0`: the loader has its own threads, and a
    worker process only adds a copy of every batch. With workers, each becomes a rank of its own, so
    that no clip comes twice, with its part of the memory; a warning says so.
    """

    def __init__(self, urls, **options):
        super().__init__()
        self._loader = Loader(urls, **options)
        self._process = os.getpid()

    @property
    def loader(self):
        return self._loader

    def set_epoch(self, epoch):
        self._loader.set_epoch(epoch)

    def state_dict(self):
        """See Loader.state_dict; not with worker processes, which run ahead of what was trained on."""
        return self._loader.state_dict()

    def load_state_dict(self, state):
        self._loader.load_state_dict(state)

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        for batch in self._batches(worker):
            yield batch if worker is None else dict(batch)

    def _batches(self, worker):
        if worker is not None and self._process != os.getpid():
            self._become_rank(worker)
        return iter(self._loader)

    def __len__(self):
        return len(self._loader)

    def _become_rank(self, worker):
        warnings.warn(
            f"shardreel runs in {worker.num_workers} DataLoader worker processes: each decodes its own "
            "part of the shards and every batch is copied between processes. num_workers=0 is faster: "
            "the loader has threads of its own", stacklevel=4)
        options = dict(self._loader._options)
        # The launcher's rank first, then the worker's within it.
        probe = Loader(**options, tensors="dlpack").open()
        resolved = probe.options
        probe.close()
        options["world_size"] = resolved["world_size"] * worker.num_workers
        options["rank"] = resolved["rank"] * worker.num_workers + worker.id
        options["memory_bytes"] = int(resolved["memory_bytes"]) // worker.num_workers
        if resolved.get("shuffle_bytes"):
            options["shuffle_bytes"] = int(resolved["shuffle_bytes"]) // worker.num_workers
        options.setdefault("ranks", "exact")
        epoch = self._loader._epoch
        self._loader = Loader(**options, tensors=self._loader._tensors)
        self._process = os.getpid()
        if epoch is not None:
            self._loader.set_epoch(epoch)
