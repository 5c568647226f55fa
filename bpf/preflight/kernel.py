"""One kernel, running or not, as far as it can be known.

Its promise: what is dear to find out is found out at the first question and not before; what can't be
known is None.

Not here: finding it in files (``bpf.preflight.kernels``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import islice

from bpf.preflight import features
from bpf.preflight.btf import FUNC, Btf
from bpf.preflight.features import Known, Version
from bpf.preflight.kernel_config import Config
from engine.values import Support

#: A real kernel has tens of thousands of functions; a file with fewer is a part or a fake.
FEW_FUNCTIONS = 1000


class Kernel:
    """A kernel.

    Attributes:
        label: For people: its release, or the file.
        release: ``uname -r``; empty when not known.
        version: (6, 12), or None.
        btf: Its types, or None.
        modules: Types of modules, which build upon them.
        config: Its build configuration, or None.
        tried: For the running kernel: which kinds of programs it really allows.
        event: For the running kernel: whether tracefs has ``group/event``; ``no`` tells why.
    """

    def __init__(  # noqa: PLR0913 - all that can be known
        self,
        *,
        label: str,
        release: str = "",
        btf: Btf | None = None,
        modules: tuple[Btf, ...] = (),
        config: Config | None = None,
        symbols: Callable[[], frozenset[str] | None] = lambda: None,
        traceable: Callable[[], frozenset[str] | None] = lambda: None,
        tried: Callable[[str], Support | None] = lambda _: None,
        event: Callable[[str], Support | None] = lambda _: None,
    ) -> None:
        self.label = label
        self.release = release
        self.version: Version | None = version_of(release)
        self.btf = btf
        self.modules = modules
        self.config = config
        self.tried = tried
        self.event = event
        self._symbols = symbols
        self._traceable = traceable

    @functools.cached_property
    def features(self) -> Known:
        """Program types, map types and helpers it has."""
        return features.known(self.btf, self.version)

    @functools.cached_property
    def symbols(self) -> frozenset[str] | None:
        """Names of functions and variables as in /proc/kallsyms; None when not known."""
        return self._symbols()

    @functools.cached_property
    def traceable(self) -> frozenset[str] | None:
        """Functions that fentry can go to (ftrace's own list); None when not known."""
        return self._traceable()

    @functools.cached_property
    def whole(self) -> bool:
        """Whether its BTF lists functions as a real kernel's does, so that an absent one says something."""
        if self.btf is None:
            return False
        return sum(1 for _ in islice(self.btf.functions(), FEW_FUNCTIONS)) == FEW_FUNCTIONS

    def function(self, name: str) -> bool | None:
        """Whether its BTF, or a module's, lists a function; None without BTF."""
        if self.btf is None:
            return None
        return any(types.first(name, (FUNC,)) for types in (self.btf, *self.modules))

    def spelled(self) -> str:
        """``kernel 6.12.107``, for sentences."""
        return f"kernel {self.release}" if self.release else self.label


def version_of(release: str) -> Version | None:
    """(6, 12) of ``6.12.107+deb13``; None of anything else."""
    try:
        return features.version(release)
    except ValueError:
        return None
