from collections.abc import Iterator
from os import PathLike
from typing import Any

from .pytorch import ClipDataset

class ClipSamples(ClipDataset):
    # The options of shardreel.Loader but batch_size.
    def __init__(
        self, urls: str | PathLike[str] | list[str], *, field: str = "mp4", **options: Any
    ) -> None: ...
    def __iter__(self) -> Iterator[dict[str, Any]]: ...
