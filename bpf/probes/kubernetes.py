"""A workload of Kubernetes: what its container is allowed beside what its BPF programs need.

Its promise: every need with its reason and source, every permission as the specification gives
it; what only the image, the node or the server knows is unknown. Reads only, at once.

Not here: what the running process really has (``host-facts``), why it fails (the diagnosis
``kubernetes-permission``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bpf.probes import kubernetes_state
from bpf.rights import needs, objects
from bpf.rights.balance import Balance, balance
from bpf.rights.given import Given, given
from bpf.rights.needs import V5_11, Doing
from engine.cluster import admission, workload
from engine.cluster.ref import SCHEME, parse
from engine.cluster.source import Found, find
from engine.contracts import Window
from engine.errors import ProbeFailed, RunbookError
from engine.values import Evidence, Field, Reading, Setting, Support, Target


def _text(help_text: str) -> Field:
    return Field(help=help_text, type="text")


class Kubernetes:
    """The probe ``kubernetes``."""

    name = "kubernetes"
    short = "kube"
    summary = "What a Kubernetes workload's container is allowed, beside what its BPF programs need"
    fields: Mapping[str, Field] = {
        "source": _text("api, or manifest"),
        "image": _text("the container's image"),
        "agent": _text("the known agent that the image is"),
        "kernel_version": Field(help="the oldest kernel that it is judged for: major · 1000 + minor"),
        "program_types": _text("types of the programs that it loads"),
        "map_types": _text("types of its maps"),
        "needs_from": _text("who says what it needs"),
        "needed_capabilities": _text("capabilities that its programs need"),
        "lacking": Field(help="rights that it needs and is not given; no value: what it needs is unknown"),
        "missing_capabilities": _text("those of the capabilities that it is not given; none"),
        "missing_mounts": _text("host directories that it needs and does not see; none"),
        "host_pid_missing": _text("it needs the host's process ids and has its own: yes or no"),
        "privileged": _text("yes: nothing is withheld"),
        "capabilities": _text("its bounding set"),
        "user": Field(help="the uid that it starts as"),
        "non_root": _text("yes: it surely starts as another than root"),
        "escalation": _text("no: file capabilities are ignored (no_new_privs)"),
        "read_only_root": _text("yes: its own files can't be written"),
        "seccomp": _text("seccomp profile"),
        "apparmor": _text("AppArmor profile"),
        "selinux": _text("SELinux type"),
        "host_pid": _text("yes: it sees the processes of the host"),
        "host_network": _text("yes: it lives in the host's network"),
        "host_users": _text("no: its capabilities count in a user namespace only"),
        "forbidden": _text("what of it the namespace's Pod Security level forbids; none"),
        "on_this_host": _text("yes: one of its processes runs here"),
        **kubernetes_state.FIELDS,
        "needs": Field(help="one row per right that it needs, and whether it is given", type="rows"),
        "pods": Field(help="one row per pod", type="rows"),
    }
    options: Mapping[str, str] = {
        "programs": "types of the programs that it loads (kprobe, tracing, xdp …), where nothing else tells",
        "maps": "types of its maps",
        "uses": "what else it does: object-ids, statistics, module-btf, other-processes, kernel-symbols,"
        " large-perf-buffers, pins, host-pid",
        "capabilities": "further capabilities that it needs",
        "objects": "its BPF object files: their programs and maps are read",
        "kernel": "a kernel version to judge for, such as 5.10",
    }
    needs_target = True
    cpu_ceiling = 1.0

    def supported(self, target: Target | None) -> Support:
        """Only at a workload of Kubernetes."""
        if target is None or target.ref.startswith(f"{SCHEME}:"):
            return Support(answer="yes")
        return Support(
            answer="no",
            why=f"{target.name} is a process, not a workload",
            fix="name the workload: --target k8s:NAMESPACE/KIND/NAME",
        )

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Look once; does not use the window up."""
        if target is None:
            raise ProbeFailed("kubernetes needs a workload", fix="--target k8s:NAMESPACE/KIND/NAME")
        started_at = window.begin()
        found = find(parse(target.ref))
        state = kubernetes_state.state(found)
        annotations = (workload.template(found.content).get("metadata") or {}).get("annotations") or {}
        spec = workload.pod_spec(found.content)
        allowed = given(spec, found.container, annotations, state.runtime)
        doing, notes = _doing(found, target, window.options, Path(window.directory))
        kernels, guess = _kernels(window.options, state.kernels)
        judged = balance(needs.needs(doing, kernels), allowed)
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.ref,
            started_at=started_at,
            ended_at=window.clock.now(),
            readings={
                **_what(found, target, doing, kernels, guess),
                **_needed(doing, judged),
                **_allowed(allowed),
                "forbidden": Reading(value="; ".join(admission.forbids(state.level, spec)) or "none"),
                **state.readings,
            },
            tables={"needs": judged.rows(), "pods": state.pods},
            notes=(*state.notes, *notes, *([guess] if guess else [])),
        )


def _doing(
    found: Found, target: Target, options: Mapping[str, Setting], directory: Path
) -> tuple[Doing, list[str]]:
    """What it does, from everybody who knows: the author, its objects, what it holds, its documents."""
    image = str(found.container.get("image", ""))
    sources, notes = [], []
    uses = _words(options.get("uses"))
    told = Doing(
        programs=_words(options.get("programs")),
        maps=_words(options.get("maps")),
        capabilities=tuple(name.upper().removeprefix("CAP_") for name in _words(options.get("capabilities"))),
        uses=tuple(name for name in uses if name not in ("pins", "host-pid")),
        mounts=("pins",) if "pins" in uses else (),
        host_pid="host-pid" in uses,
        source="the options of this look",
    )
    sources.append(told)
    files = [directory / name for name in _words(options.get("objects"))]
    if files:
        sources.append(objects.of_files(files))
    if target.processes:
        try:
            from bpf.objects import inventory  # noqa: PLC0415 - needs root, and only where the pod runs here

            sources.append(objects.of_running(inventory.read(), [one.pid for one in target.processes]))
        except RunbookError as error:
            notes.append(f"what it has loaded could not be listed: {error.problem}")
    agent = needs.known_agent(image)
    if agent is not None:
        sources.append(_documented(agent))
    return _together([one for one in sources if one or one.uses or one.mounts or one.host_pid]), notes


def _documented(agent: needs.Agent) -> Doing:
    return Doing(
        programs=agent.programs,
        uses=agent.uses,
        mounts=agent.mounts,
        capabilities=agent.capabilities,
        host_pid=agent.host_pid,
        source=agent.source,
    )


def _together(sources: list[Doing]) -> Doing:
    def all_of(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(word for one in sources for word in getattr(one, name)))

    return Doing(
        programs=all_of("programs"),
        maps=all_of("maps"),
        uses=all_of("uses"),
        mounts=all_of("mounts"),
        capabilities=all_of("capabilities"),
        host_pid=any(one.host_pid for one in sources),
        source="; ".join(one.source for one in sources),
    )


def _kernels(options: Mapping[str, Setting], seen: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """The kernels to judge for; with a note where one is taken for granted."""
    asked = options.get("kernel")
    if asked:
        number = needs.version(str(asked))
        if number is None:
            raise ProbeFailed(f"{asked!r} is no kernel version", fix='write it as kernel: "5.10"')
        return (number,), ""
    if seen:
        return seen, ""
    return (V5_11,), "the kernel of its nodes is unknown: judged for 5.11 and newer"


def _what(
    found: Found, target: Target, doing: Doing, kernels: tuple[int, ...], guess: str
) -> dict[str, Reading]:
    image = str(found.container.get("image", ""))
    agent = needs.known_agent(image)
    return {
        "source": Reading(value="manifest" if found.ref.manifest else "api"),
        "image": Reading(value=image) if image else Reading(missing="the container names no image"),
        "agent": Reading(value=agent.name)
        if agent
        else Reading(missing="the image is no agent that we know"),
        "kernel_version": Reading(missing=guess) if guess else Reading(value=min(kernels)),
        "program_types": _listed(doing.programs, "nothing tells which programs it loads"),
        "map_types": _listed(doing.maps, "nothing tells which maps it makes"),
        "needs_from": Reading(value=doing.source) if doing.source else Reading(missing="nobody says"),
        "on_this_host": Reading(value=_yes(bool(target.processes))),
    }


def _needed(doing: Doing, judged: Balance) -> dict[str, Reading]:
    names = ("needed_capabilities", "lacking", "missing_capabilities", "missing_mounts", "host_pid_missing")
    if not doing and not judged.lacking and not judged.met:
        why = "what it needs is unknown: give programs, objects or capabilities as options"
        return {name: Reading(missing=why) for name in names}
    needed = [one.what for one in (*judged.lacking, *judged.met) if one.kind == "capability"]
    return {
        "needed_capabilities": Reading(value=" ".join(sorted(needed)) or "none"),
        "lacking": Reading(value=len(judged.lacking)),
        "missing_capabilities": Reading(value=" ".join(judged.of("capability")) or "none"),
        "missing_mounts": Reading(value=" ".join(judged.of("mount")) or "none"),
        "host_pid_missing": Reading(value=_yes(bool(judged.of("host")))),
    }


def _allowed(allowed: Given) -> dict[str, Reading]:
    decided = "left to the container runtime"
    return {
        "privileged": Reading(value=_yes(allowed.privileged)),
        "capabilities": Reading(value=" ".join(sorted(allowed.capabilities)) or "none"),
        "user": Reading(value=allowed.user, missing="" if allowed.user is not None else "the image decides"),
        "non_root": Reading(value=_yes(allowed.non_root)),
        "escalation": Reading(value=_yes(allowed.escalation)),
        "read_only_root": Reading(value=_yes(allowed.read_only_root)),
        "seccomp": _listed((allowed.seccomp,), "left to the kubelet (--seccomp-default)"),
        "apparmor": _listed((allowed.apparmor,), decided),
        "selinux": _listed((allowed.selinux,), decided),
        "host_pid": Reading(value=_yes(allowed.host_pid)),
        "host_network": Reading(value=_yes(allowed.host_network)),
        "host_users": Reading(value=_yes(allowed.host_users)),
    }


def _listed(words: tuple[str, ...], missing: str) -> Reading:
    value = " ".join(filter(None, words))
    return Reading(value=value) if value else Reading(missing=missing)


def _words(value: Setting) -> tuple[str, ...]:
    """An option's words: a list, or a text with commas or spaces."""
    if isinstance(value, list):
        return tuple(str(one) for one in value)
    return tuple(str(value).replace(",", " ").split()) if value else ()


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"
