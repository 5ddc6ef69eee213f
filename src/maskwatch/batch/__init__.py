"""Many pictures, on one machine or a cluster, into Parquet: `maskwatch batch`.

The list of pictures is written down once and cut into parts; each part is looked at by one worker
and committed as a whole. What is not committed is done again, by whoever is there, with the same
bytes as the result. So workers, nodes and the whole job may die at any moment.
"""

from maskwatch.batch.job import BatchReport, run_batch
from maskwatch.batch.options import BatchOptions

__all__ = ["BatchOptions", "BatchReport", "run_batch"]
