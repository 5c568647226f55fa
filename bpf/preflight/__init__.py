"""Will these BPF objects load and attach on that kernel? Answered from files, before the reboot.

``judge`` is the door: an ``ElfObject`` (``bpf_object``) against a ``Kernel`` (``kernel``) gives an
``ObjectVerdict`` (``result``).

Not here: loading anything into a kernel.
"""
