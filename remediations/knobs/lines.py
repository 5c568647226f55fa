"""What whoever keeps an agent's configuration writes there so that a change stays: the lines, by format.

One promise: the lines are made by the very forms that write the settings, from the change alone; where a
setting stands in no file (a BPF variable, a cgroup), they say so and name what is lost with the process.
Nothing is read, and nothing is written.

Not here: writing them (the backends), which changes are kept (``engine.running.leases``).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from engine.errors import RunbookError
from engine.values import Change, Knob, Setting
from remediations.knobs.env_file import EnvForm
from remediations.knobs.ini_file import IniForm
from remediations.knobs.json_file import JsonForm
from remediations.knobs.option_directory import WholeForm
from remediations.knobs.text_edit import Form
from remediations.knobs.toml_file import TomlForm
from remediations.knobs.yaml_form import YamlForm

_FORMS: dict[str, Form] = {
    "yaml-file": YamlForm(),
    "toml-file": TomlForm(),
    "ini-file": IniForm(),
    "json-file": JsonForm(),
    "env-file": EnvForm(),
}
#: What the keys of a ConfigMap hold, by their ending; YAML without one.
_WITHIN: dict[str, Form] = {"json": JsonForm(), "toml": TomlForm(), "ini": IniForm()}


def lines(change: Change) -> str:
    """A head that names the place, and the lines that belong there; several lines, no break at the end."""
    made = _MAKERS.get(change.knob.backend)
    if made is None and change.knob.backend in _FORMS:
        made = _in_a_file
    try:
        return (made or _nowhere)(change)
    except RunbookError as error:
        return f"{_head(change, change.where or change.knob.path)}\n# {error.problem}"


def _head(change: Change, place: str) -> str:
    was = "not set" if change.before is None else change.before_text
    return f"# {place} (was: {' '.join(was.split())})"


def _in_a_file(change: Change) -> str:
    knob = change.knob
    return f"{_head(change, f'{knob.file}: {knob.path}')}\n{_text(_FORMS[knob.backend], knob, change.after)}"


def _text(form: Form, knob: Knob, after: Setting) -> str:
    """The whole path down to the value, as it stands in a text that holds nothing else."""
    empty = "{}\n" if isinstance(form, JsonForm) else ""
    found = form.insertion(empty, after, knob)
    return (empty[: found.at] + found.text + empty[found.at :]).strip("\n")


def _option(change: Change) -> str:
    return f"{_head(change, f'{change.knob.file}/{change.knob.path}')}\n{_plain(change.after)}"


def _dropin(change: Change) -> str:
    return f"{_head(change, change.knob.file)}\n{_plain(change.after).rstrip()}"


def _unit(change: Change) -> str:
    return change.knob.reload.unit or "the agent's unit"


def _environment(change: Change) -> str:
    value = f"{change.knob.path}={_plain(change.after)}".replace("\\", "\\\\").replace('"', '\\"')
    return f'{_head(change, f"{_unit(change)}: {change.knob.path}")}\n[Service]\nEnvironment="{value}"'


def _argument(change: Change) -> str:
    flag = change.knob.path
    word = flag if change.knob.unit == "bool" else f"{flag.removesuffix('=')}={_plain(change.after)}"
    if " " in flag:  # ``--flag key=``: one of several settings in the flag's value
        word = f"{flag}{_plain(change.after)}"
    where = "the agent's command line" if change.knob.backend == "process-argument" else _unit(change)
    return f"{_head(change, f'{where}: {flag}')}\n# in ExecStart=, in place of what stands there:\n{word}"


def _memory(change: Change) -> str:
    limit = "infinity" if change.after is None else _plain(change.after)
    unit = change.knob.path if change.knob.backend == "systemd-memory" else "the agent's unit"
    return f"{_head(change, f'{unit}: MemoryMax')}\n[Service]\nMemoryMax={limit}"


def _cluster(change: Change) -> str:
    """The part of the manifest: a key of a ConfigMap, a variable or flag of a container; else the patch."""
    kind, _, rest = change.knob.path.partition("/")
    place = change.where or change.knob.path
    if kind == "configmap":
        return f"{_head(change, place)}\n{_config_map(change, rest)}"
    if kind == "env":
        return f"{_head(change, place)}\nenv:\n- name: {rest}\n  value: {_quoted(change.after)}"
    if kind == "arg":
        word = rest if change.knob.unit == "bool" else f"{rest}={_plain(change.after)}"
        return f"{_head(change, place)}\nargs:\n- {_quoted(word)}"
    return f"{_head(change, place)}\n{change.detail or change.after_text}"


def _config_map(change: Change, rest: str) -> str:
    name, _, place = rest.partition("#")
    key, _, path = place.partition(":")
    inner = msgspec.structs.replace(change.knob, file=f"configmap/{name}#{key}", path=path)
    form: Form = _WITHIN.get(key.rpartition(".")[2], YamlForm()) if path else WholeForm()
    text = _text(form, inner, change.after)
    head = f"kind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  {key}: "
    if not path:
        return head + _quoted(change.after)
    return f"{head}|\n" + "\n".join(f"    {line}" for line in text.splitlines())


def _nowhere(change: Change) -> str:
    """What holds only as long as the process, the cgroup or the mount does."""
    what = change.where or f"{change.knob.backend}: {change.knob.path or change.knob.name}"
    lines_of_it = change.detail or f"{change.knob.name}: {change.after_text}"
    return (
        f"{_head(change, what)}\n# it stands in no file, and is lost when what holds it ends:\n{lines_of_it}"
    )


def _plain(value: Setting) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _quoted(value: Setting) -> str:
    return msgspec.json.encode(_plain(value)).decode()


_MAKERS: dict[str, Callable[[Change], str]] = {
    "option-directory": _option,
    "systemd-dropin": _dropin,
    "systemd-environment": _environment,
    "systemd-argument": _argument,
    "process-argument": _argument,
    "systemd-memory": _memory,
    "cgroup-memory": _memory,
    "kubernetes": _cluster,
}
