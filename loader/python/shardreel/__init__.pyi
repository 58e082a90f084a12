from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from os import PathLike
from typing import Any

__version__: str

class ShardreelError(Exception):
    code: str
    shard: str
    key: str
    offset: int | None

class OptionError(ShardreelError, ValueError): ...
class BudgetError(ShardreelError, MemoryError): ...
class DataError(ShardreelError): ...
class StoppedError(ShardreelError): ...

class Default:
    value: Any
    def __init__(self, value: Any) -> None: ...

class Batch:
    def __getitem__(self, name: str) -> Any: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def __contains__(self, name: object) -> bool: ...
    def get(self, name: str, default: Any = None) -> Any: ...
    def keys(self) -> KeysView[str]: ...
    def values(self) -> ValuesView[Any]: ...
    def items(self) -> ItemsView[str, Any]: ...
    def pin_memory(self, *device: Any) -> Batch: ...
    @property
    def epoch(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def ids(self) -> list[tuple[int, int, int, int]]: ...
    @property
    def corrupt(self) -> list[bool]: ...
    @property
    def device(self) -> str: ...

class Loader:
    def __init__(
        self,
        urls: str | PathLike[str] | list[str],
        *,
        tensors: str = "auto",
        on_field_error: str | Default | Mapping[str, str | Default] = ...,
        video_fields: list[Any] | str | None = None,
        integrity: str | None = None,
        on_error: str | None = None,
        max_skip_ratio: float | None = None,
        filter: list[Any] | str | None = None,
        shuffle: str | None = None,
        open_shards: int | None = None,
        open_videos: int | None = None,
        num_frames: int | None = None,
        frame_step: int | None = None,
        window_stride: int | None = None,
        fps: float | None = None,
        windows_per_video: int | str | None = None,
        window_choice: str | None = None,
        short_policy: str | None = None,
        unit_clips: int | None = None,
        width: int | None = None,
        height: int | None = None,
        sample_aspect: str | None = None,
        resize_mode: str | None = None,
        crop: str | None = None,
        crop_scale: list[Any] | str | None = None,
        crop_ratio: list[Any] | str | None = None,
        flip: float | None = None,
        color: str | None = None,
        dtype: str | None = None,
        mean: list[Any] | str | None = None,
        std: list[Any] | str | None = None,
        layout: str | None = None,
        batch_size: int | None = None,
        drop_last: bool | None = None,
        seed: int | None = None,
        epoch: int | None = None,
        epochs: int | None = None,
        batches_per_epoch: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        ranks: str | None = None,
        memory_bytes: int | str | None = None,
        shuffle_bytes: int | str | None = None,
        min_fill: int | None = None,
        shuffle_domain: str | None = None,
        prefetch_batches: int | None = None,
        held_batches: int | None = None,
        reader_threads: int | None = None,
        decode_threads: int | None = None,
        member_inline_bytes: int | str | None = None,
        max_member_bytes: int | str | None = None,
        spool_dir: str | None = None,
        page_cache: str | None = None,
        allow_pipe: bool | None = None,
        index_dir: str | None = None,
        devices: list[Any] | str | None = None,
        decode: str | None = None,
        gpu_memory_bytes: int | str | None = None,
        gpu_memory_reserve: int | str | None = None,
        connections: int | None = None,
        retries: int | None = None,
        request_timeout: float | None = None,
        stall_timeout: float | None = None,
        shard_timeout: float | None = None,
        http_headers: list[Any] | str | None = None,
        ca_file: str | None = None,
        s3_endpoint: str | None = None,
        s3_region: str | None = None,
        anonymous: bool | None = None,
        cache_dir: str | None = None,
        cache_bytes: int | str | None = None,
        cache_only: bool | None = None,
    ) -> None: ...
    def open(self) -> Loader: ...
    def stop(self) -> None: ...
    def release_gpu(self) -> int: ...
    def close(self) -> None: ...
    def __enter__(self) -> Loader: ...
    def __exit__(self, *exc: object) -> None: ...
    def next(self, lane: int = 0) -> Batch | None: ...
    def __iter__(self) -> Iterator[Batch]: ...
    def iterate(
        self, lane: int = 0, progress: Callable[[int], object] | None = None
    ) -> Iterator[Batch]: ...
    def __bool__(self) -> bool: ...
    def __len__(self) -> int: ...
    @property
    def lanes(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    def set_epoch(self, epoch: int) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...
    @property
    def options(self) -> dict[str, Any]: ...
    @property
    def rank_source(self) -> str: ...
    def metrics(self) -> dict[str, Any]: ...
    def plan(self) -> dict[str, Any]: ...

def option_rows() -> list[tuple[str, str, str, str, str]]: ...
