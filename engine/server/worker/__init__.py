"""The part that decides and changes: the queue on disk, which run next, the processes that run them."""
