"""shardreel: batches of video clips from WebDataset tar shards, in a byte budget.

    import shardreel
    for batch in shardreel.Loader("shards/train-{000..099}.tar", num_frames=16, batch_size=8):
        train(batch["video"], batch["cls"])

`Loader` has the options of docs/options.md as keyword arguments; `Batch` says what a batch holds;
`shardreel.pytorch` has a Dataset for torch.utils.data.DataLoader.
"""

from ._batch import Batch
from ._errors import BudgetError, DataError, OptionError, ShardreelError, StoppedError
from ._fields import Default
from ._loader import Loader
from ._shardreel import option_rows

__all__ = ["Batch", "BudgetError", "DataError", "Default", "Loader", "OptionError", "ShardreelError",
           "StoppedError", "option_rows"]
__version__ = "0.1.0"
