"""The durable record of runs: its rows, its chain of hashes, its locks."""

from engine.journal.store import Journal, RunLog, default_directory
from engine.journal.trouble import explained

__all__ = ["Journal", "RunLog", "default_directory", "explained"]
