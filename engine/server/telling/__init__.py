"""Telling people: notices that the worker hands out, sent through Apprise.

The listener tells, since the services are on the network and their addresses are secrets that only
it may read. It keeps nothing: what was told, what is tried again and how much is too much stands in the
worker's outbox.

Not here: what is told (``engine.server.worker.notices``), and when (``engine.server.worker.outbox``).
"""
