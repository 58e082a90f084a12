"""Which epoch each pass over a dataset is, agreed among a process and the workers of its DataLoaders."""

import fcntl
import multiprocessing.context
import multiprocessing.reduction
import os
import struct
import weakref

_SET, _BEGUN = 0, 1
_LINE = struct.Struct("=7q")  # kind, process, then what the kind has


class Passes:
    """The epochs of passes: the one that was set, or else the one behind the last.

    A file without a name that all processes append lines to, each at once: where the process that has the
    DataLoader sets an epoch, where a worker begins a pass. All read the same lines in the same order, so
    workers that begin the same pass find the same epoch, whoever is first. A copy that is pickled for a
    new worker shares the file; any other begins where this one stands.
    """

    def __init__(self, epoch=0, resumes=False):
        self._made_in = os.getpid()
        self._open(os.memfd_create("shardreel-passes"))
        fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) | os.O_APPEND)
        self.set(epoch, resumes)

    def _open(self, file):
        self._file = file
        weakref.finalize(self, os.close, file)

    def set(self, epoch, resumes=False):
        """The next pass is of this epoch; with `resumes` it is the rest of it behind the state that was loaded."""
        self._append(_SET, os.getpid(), epoch, resumes)

    def begin(self, turn, worker, trainer):
        """Begin a pass in a worker of the process `trainer`; return its epoch and whether it is the rest behind
        a state. `turn` is three numbers that the workers of one pass, and mostly no others, have in common."""
        self._append(_BEGUN, trainer, *turn, worker)
        return self._read(trainer)[0][turn][:2]

    def next_epoch(self):
        return self._read(os.getpid())[1]

    def last_was_a_workers(self):
        return self._read(os.getpid())[3]

    def _append(self, *numbers):
        os.write(self._file, _LINE.pack(*numbers, *[0] * (7 - len(numbers))))

    def _read(self, trainer):
        """({turn: (epoch, resumes, workers that began it)}, next epoch, whether that resumes, whether workers
        began the last pass)."""
        turns, epoch, resumes, by_worker, own = {}, 0, False, False, False
        lines = os.pread(self._file, os.fstat(self._file).st_size, 0)
        for kind, process, *numbers in _LINE.iter_unpack(lines):
            # Another process that has the dataset, such as another rank, has passes of its own; until its
            # first line it stands where the one that made the dataset put it.
            if process != trainer and (own or kind != _SET or process != self._made_in):
                continue
            own = own or process == trainer
            by_worker = kind == _BEGUN
            if kind == _SET:
                epoch, resumes = numbers[0], bool(numbers[1])
                continue
            turn, worker = tuple(numbers[:3]), numbers[3]
            if turn not in turns or worker in turns[turn][2]:  # the same seed again is another pass
                turns[turn] = epoch, resumes, set()
                epoch, resumes = epoch + 1, False
            turns[turn][2].add(worker)
        return turns, epoch, resumes, by_worker

    def __reduce__(self):
        if multiprocessing.context.get_spawning_popen() is not None:
            return _of_file, (multiprocessing.reduction.DupFd(self._file), self._made_in)
        _, epoch, resumes, _ = self._read(os.getpid())
        return Passes, (epoch, resumes)


def _of_file(handle, made_in):
    passes = Passes.__new__(Passes)
    passes._made_in = made_in
    passes._open(handle.detach())
    return passes
