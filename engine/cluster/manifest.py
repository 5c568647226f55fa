"""A workload in a manifest file: found among several documents, with the document's place.

One promise: the one document that is meant, or an error that names what the file does hold. The
file is read and never written here.

Not here: changing its text (``remediations.knobs.manifest_text``).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine import trust
from engine.cluster.errors import ManifestWrong
from engine.cluster.ref import KINDS, Ref
from engine.cluster.workload import Object, kind_of
from engine.errors import TargetAmbiguous, TargetNotFound, nearest

_MOST_BYTES = 16 << 20


class Document(msgspec.Struct, frozen=True):
    """One document of a file: which one, counted from 0, and what it holds."""

    index: int
    content: Object


def text_of(ref: Ref) -> str:
    """The file's text.

    Raises:
        ManifestWrong: It can't be read as UTF-8 text.
        NotTrusted: Others could have written it, and this is root, who would write it anew.
    """
    file = Path(ref.manifest)
    try:
        found = trust.read(file, _MOST_BYTES)
        if len(found) > _MOST_BYTES:
            raise ManifestWrong(
                f"{file} is larger than {_MOST_BYTES >> 20} MiB", fix="name the manifest itself"
            )
        return found.decode("utf-8")  # its line breaks as they are
    except FileNotFoundError:
        beside = [one.name for one in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
        near = nearest(file.name, beside)
        hint = f"did you mean {file.parent / near}?" if near else "check the path"
        raise ManifestWrong(f"{file} does not exist", fix=hint) from None
    except OSError as error:
        raise ManifestWrong(f"{file} can't be read: {error.strerror}", fix="check its permissions") from None
    except UnicodeDecodeError:
        raise ManifestWrong(f"{file} is not UTF-8 text", fix="name a YAML manifest") from None


def find(text: str, ref: Ref) -> Document:
    """The document that holds the workload.

    Raises:
        ManifestWrong: No YAML.
        TargetNotFound, TargetAmbiguous: No such workload in it, or several.
    """
    workloads = _workloads(text, ref.manifest)
    fits = [one for one in workloads if _fits(one.content, ref)]
    if len(fits) == 1:
        return fits[0]
    listed = ", ".join(_shown(one.content) for one in workloads) or "none"
    if fits:
        raise TargetAmbiguous(
            f"{ref.manifest} holds {len(fits)} workloads named {ref.name!r}: {listed}",
            fix="name kind and namespace too",
        )
    near = nearest(ref.name, [_name(one.content) for one in workloads])
    hint = f"did you mean {near!r}?" if near and near != ref.name else f"it holds: {listed}"
    raise TargetNotFound(f"there is no {ref.shown}", fix=hint)


def _workloads(text: str, file: str) -> list[Document]:
    import yaml  # noqa: PLC0415 - 30 ms, and only files need it

    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or "no YAML"
        hint = "render the chart first: helm template …" if "{{" in text else "mend the file first"
        raise ManifestWrong(f"{file}{line}: {what}", fix=hint) from None
    return [
        Document(index, content)
        for index, content in enumerate(documents)
        if isinstance(content, dict) and kind_of(content) in KINDS and _name(content)
    ]


def _fits(content: Object, ref: Ref) -> bool:
    space = str((content.get("metadata") or {}).get("namespace") or "")
    return (
        _name(content) == ref.name
        and ref.kind in ("", kind_of(content))
        and (not ref.namespace or not space or space == ref.namespace)
    )


def _name(content: Object) -> str:
    metadata = content.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def _shown(content: Object) -> str:
    return f"{kind_of(content)}/{_name(content)}"
