"""What can go wrong with a cluster, told with the way out. Nothing was changed by any of them."""

from __future__ import annotations

from engine.errors import RunbookError, UsageError


class ClientMissing(UsageError):
    """The Kubernetes client is an optional extra, and it is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "the Kubernetes client for Python is not installed",
            fix="pip install 'bpf-runbook[kubernetes]'; or give the manifest file, which needs no client",
        )


class ConfigUnreadable(UsageError):
    """The kubeconfig can't be read, or has no such context."""


class Unreachable(RunbookError):
    """The API server gave no answer."""


class Forbidden(RunbookError):
    """The API server knows us and says no."""


class Conflict(RunbookError):
    """The object was changed between our reading and our writing."""


class Rejected(RunbookError):
    """The API server, or an admission controller behind it, refuses the object."""


class NotThere(RunbookError):
    """The API server has no such object."""


class ManifestWrong(UsageError):
    """A manifest file can't be read, or holds no such workload."""
