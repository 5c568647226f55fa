"""Variables and flags of one container in a pod's specification: reading, setting, taking back.

One promise: all other variables and words stay, in their order. What the API server or the image makes
(``valueFrom``, ``$(VAR)``, the image's own arguments) is not guessed.

Source: Kubernetes API reference, core/v1 Container.

Not here: the server (``kubernetes_setting``), a unit's command line (``command_line``).
"""

from __future__ import annotations

import json
import re
from typing import Any

from engine.cluster.workload import Object
from engine.values import Knob, Setting
from remediations.knobs import flags, text_value
from remediations.knobs.backend import NotChanged

_MADE = re.compile(r"(?<!\$)(?:\$\$)*\$\(\w")
_SHELLS = ("sh", "bash", "dash", "ash", "busybox", "env")


class Variable:
    """``env/NAME``: the raw is the text of the variable."""

    #: Keys of a container that are read and written.
    keys = ("env",)

    def raw(self, container: Object, name: str) -> str | None:
        """Its text; None when it is not set.

        Raises:
            NotChanged: It comes from elsewhere.
        """
        found = [one for one in container.get("env") or () if one.get("name") == name]
        if found and "valueFrom" in found[-1]:
            raise NotChanged(
                f"variable {name} comes from elsewhere: {json.dumps(found[-1]['valueFrom'])}",
                fix="name that place in the agent's profile: configmap/NAME#key",
            )
        if not found and container.get("envFrom"):
            raise NotChanged(
                f"variable {name} may come from envFrom", fix="name the ConfigMap in the agent's profile"
            )
        return str(found[-1].get("value", "")) if found else None

    def put(self, container: Object, name: str, raw: str | None) -> Object:
        """The container with this text, or without the variable."""
        listed = [dict(one) for one in container.get("env") or ()]
        ours = [one for one in listed if one.get("name") == name]
        if raw is None:
            listed = [one for one in listed if one.get("name") != name]
        elif ours:
            ours[-1]["value"] = raw
        else:
            listed.append({"name": name, "value": raw})
        return _with(container, "env", listed)


class Argument:
    """``arg/--flag``: the raw is the text of the flag's value, of a flag that stands alone the flag."""

    keys = ("command", "args")

    def __init__(self, *, switch: bool) -> None:
        self._switch = switch

    def raw(self, container: Object, name: str) -> str | None:
        """Its text; None when it is not given.

        Raises:
            NotChanged: A shell or the image has a say in it.
        """
        words, hit = self._find(container, name)
        if hit is None:
            return None
        return words[hit.word] if hit.prefix is None else words[hit.word][len(hit.prefix) :]

    def put(self, container: Object, name: str, raw: str | None) -> Object:
        """The container with this text for the flag, or without it."""
        words, hit = self._find(container, name)
        flag = flags.parse(name)
        if hit is None:
            at = flags.end(words)
            new = [name] if raw == name else flags.added(flag, str(raw))
            return self._split(container, [*words[:at], *new, *words[at:]], at, len(new))
        if raw is not None:
            whole = hit.prefix is None or raw == flag.name
            words[hit.word] = raw if whole else f"{hit.prefix}{raw}"
            return self._split(container, words, 0, 0)
        first = hit.word if hit.prefix is None or hit.prefix.startswith(flag.name) else hit.word - 1
        count = hit.word + 1 - first
        return self._split(container, words[:first] + words[hit.word + 1 :], first, -count)

    def _find(self, container: Object, name: str) -> tuple[list[str], flags.Hit | None]:
        """The words, a stand-in for the image's program where none is named, and the flag among them."""
        command = [str(word) for word in container.get("command") or ()]
        if command and command[0].rpartition("/")[2] in _SHELLS:
            raise NotChanged(f"the container starts through {command[0]}", fix="change the setting by hand")
        if not command and not container.get("args"):
            raise NotChanged(
                "the container runs with its image's own arguments, which would be lost",
                fix="write them out as args, then try again",
            )
        words = [*(command or [""]), *map(str, container.get("args") or ())]
        hit = flags.find(words, flags.parse(name), switch=self._switch)
        return words, hit

    def _split(self, container: Object, words: list[str], at: int, grown: int) -> Object:
        """The words as command and args again, of which ``grown`` more (or fewer) stand at ``at``."""
        length = len(container.get("command") or [""])
        within = at < length or not container.get("args")
        length += grown if grown and within else 0
        whole = container
        if container.get("command"):
            whole = _with(whole, "command", words[:length])
        return _with(whole, "args", words[length:])


def meaning(raw: str | None, knob: Knob) -> Setting:
    """What a text means.

    Raises:
        NotChanged: The API server makes it.
        ValueError: It is neither yes nor no.
    """
    if raw is None:
        return None
    if _MADE.search(raw):
        raise NotChanged(f"{knob.path}: the kubelet makes its value of {raw!r}", fix="write the value out")
    if knob.unit == "bool" and raw.startswith("-"):
        return True
    return text_value.read(raw.replace("$$(", "$("), knob.unit)


def written(value: Setting, raw: str | None, knob: Knob) -> str:
    """The raw of a setting, in the style of the one that stands there; a yes may be the flag alone."""
    place, _, name = knob.path.partition("/")
    alone = place == "arg" and knob.unit == "bool" and (raw is None or raw.startswith("-"))
    if alone and value is True:
        return name
    try:
        word = text_value.spell(value, "" if alone else raw or "").replace("$(", "$$(")
    except ValueError as error:
        raise NotChanged(f"{knob.path}: {error}", fix="change it by hand") from None
    return f"{name}={word}" if alone and raw else word


def _with(container: Object, key: str, listed: list[Any]) -> Object:
    whole = {**container, key: listed}
    if not listed:
        del whole[key]
    return whole
