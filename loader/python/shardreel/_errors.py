"""The exceptions: one class a kind of trouble, with the place in the data as attributes."""


class ShardreelError(Exception):
    """What went wrong, in one sentence.

    Attributes: `code` (a word, e.g. "truncated", as in `metrics()["skipped_by_reason"]`), `shard` (URL,
    or ""), `key` (of the sample, or ""), `offset` (byte in the decompressed shard, or None).
    """

    def __init__(self, message, code="internal", shard="", key="", offset=None):
        super().__init__(message)
        self.code, self.shard, self.key, self.offset = code, shard, key, offset

    def __reduce__(self):
        return type(self), (self.args[0], self.code, self.shard, self.key, self.offset)


class OptionError(ShardreelError, ValueError):
    """Options without a meaning: a wrong name, type or value. The message names each problem."""


class BudgetError(ShardreelError, MemoryError):
    """`memory_bytes` is too small for the options; the message names the figure that would do."""


class DataError(ShardreelError):
    """The shards: missing, damaged, more bad samples than `max_skip_ratio`, nothing to deliver."""


class StoppedError(ShardreelError):
    """The loader was stopped or closed."""


_CLASSES = {"invalid_option": OptionError, "memory": BudgetError, "stopped": StoppedError,
            "internal": ShardreelError}


def raise_error(code, message, shard, key, offset):
    """Raise the exception for an error of the C++ core."""
    raise _CLASSES.get(code, DataError)(message, code, shard, key, offset)
