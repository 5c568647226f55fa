"""What secrets look like in texts: one rule each, with the words that make a look worth its cost.

One promise: every rule runs in time linear in the text: what it reads to decide ends where the next
possible match begins. A rule that takes too much would cost a report its facts, so hashes, ids, paths,
names of maps and kernel texts are no secrets here.

Sources: the documented forms of tokens of AWS, GitHub, GitLab, Google Cloud, Slack, Stripe and others;
RFC 7515 (JWT), RFC 7468 (PEM), RFC 6750 and 7617 (Authorization), RFC 3986 (user information), crypt(5).

Not here: secrets that are known by value, and shapes of data (``engine.redaction``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: What stands in place of a secret, everywhere.
MASK = "(secret)"

_WHOSE = (
    "api",
    "access",
    "account",
    "private",
    "signing",
    "encryption",
    "auth",
    "session",
    "master",
    "license",
)
_NAME = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret[-_]?(?:access[-_]?)?key|secret|token|"
    rf"(?:{'|'.join(_WHOSE)})[-_ ]?key|credentials?|authorization)"
)
_KEYS = tuple(f"{whose}{mark}key" for whose in _WHOSE for mark in ("", "-", "_", " "))
#: What may follow a name and leaves it one: ``TOKEN_PROD``, ``password2``, ``secret-base64``.
_MORE = r"(?P<more>(?:[-_.][a-z0-9]{1,16}){0,2}\d{0,3})"
_VALUE = (
    r'(?P<value>"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|\'[^\'\n]*\'?|\\{1,3}"[^"\n]*"?'
    r"|[|>][-+]?[ \t]*\n(?:[ \t]+[^\n]*\n?)+|[^\s\"'\\;&<>][^\s\"';&<>]*)"
)
#: Last words of names that tell where a secret is, or something about it.
_ABOUT = frozenset(
    re.findall(
        r"\w+",
        "file files path dir name names url uri ref type kind len length size count ttl id ids expiry "
        "expires expiration expired timeout policy age lifetime error errors bucket map rate limit mount",
    )
)
#: Values that are none: templates, what a language calls nothing, what is masked already.
_NOTHING = re.compile(
    r"\{\{|\$\w+$|\$\{[\w:-]+\}?$|\$\(|\$\{\{|<[\w -]*>?$|%s$|%\(\w+\)s$"
    r"|(?:null|none|nil|true|false|yes|no|unset|empty|~|-)[)\]},.;:]{0,3}$"
    r"|[*•.…_-]+$|x{3,}$|\(secret\)(?:$|[)\]},.:;])",
    re.IGNORECASE,
)
#: What is no plain text in YAML: a mapping, a list, an anchor, an alias, a tag.
_STRUCTURE = re.compile(r"\{(?:\s*[\"']?\w*[\"']?:|\}|$)|\[|[&*][A-Za-z_]+$|!!?[A-Za-z]+$|[|>][-+]?$")


class Rule(NamedTuple):
    """A form of secrets.

    Attributes:
        words: In lower case; a text with none of them holds no such secret.
        here: Every match begins with one of the words, so it is looked for at those places only.
    """

    words: tuple[str, ...]
    pattern: re.Pattern[str]
    instead: str | Callable[[re.Match[str]], str]
    here: bool = False

    def without(self, text: str, lower: str) -> str:
        """A text without such secrets; ``lower``: the same in lower case."""
        found = [word for word in self.words if word in lower]
        if not found:
            return text
        if not self.here or len(lower) != len(text) or not callable(self.instead):
            return self.pattern.sub(self.instead, text)
        parts, end = [], 0
        for place in sorted({place for word in found for place in _places(word, lower)}):
            if place >= end and (match := self.pattern.match(text, place)):
                parts += [text[end:place], self.instead(match)]
                end = match.end()
        return "".join((*parts, text[end:])) if parts else text


def _places(word: str, text: str) -> Iterator[int]:
    place = text.find(word)
    while place >= 0:
        yield place
        place = text.find(word, place + 1)


def _named(match: re.Match[str]) -> str:
    """``password=…``: the value masked, in its quotes; or all of it where that is no secret."""
    whole, value, name = match[0], match["value"], match["name"].lower()
    last = re.split(r"[-_.]", match["more"].lower())[-1]
    bare = value.strip("\\\"'`")
    if not bare or last in _ABOUT or _NOTHING.match(bare) or _in_path(match):
        return whole
    if "=" not in match["sep"] and _STRUCTURE.match(value):
        return whole
    quoted = value[0] in "\"'\\" or bool(match["close"])
    if name == "pwd" and bare.startswith("/"):
        return whole
    if not quoted and "pass" not in name and name != "pwd" and not _is_random(bare, match["sep"]):
        return whole
    return f"{whole[: match.start('value') - match.start()]}{_masked(value)}"


def _masked(value: str) -> str:
    """The mask with what stood around the value."""
    opening = re.match(r"\\{0,3}[\"']?", value)
    head = opening[0] if opening else ""
    if head:
        return f"{head}{MASK}{head if value.endswith(head[-1]) and len(value) > len(head) else ''}"
    tail = re.search(r"[)\]},.]{0,3}$", value)
    return f"{MASK}{tail[0] if tail and len(tail[0]) < len(value) else ''}"


def _in_path(match: re.Match[str]) -> bool:
    """Whether the name is the end of a path in front of a message: ``/etc/passwd: no such file``."""
    if "=" in match["sep"] or match["close"]:
        return False
    text, at = match.string, match.start()
    for place in range(at - 1, max(-1, at - 65), -1):
        if text[place] == "/":
            return True
        if not (text[place].isalnum() or text[place] in "._-"):
            return False
    return False


def _is_random(bare: str, separator: str) -> bool:
    """Whether an unquoted value may be a secret: ``token=5`` and ``invalid token: expected`` are none."""
    if bare.isdigit() and len(bare) < 6:
        return False
    if "=" in separator:
        return True
    return len(bare) >= 8 and any(one.isdigit() for one in bare)


def _rule(words: str, pattern: str, instead: str | Callable[[re.Match[str]], str], flags: int = 0) -> Rule:
    return Rule(tuple(words.split("|")), re.compile(pattern, flags), instead)


_I = re.IGNORECASE

#: In the order in which they are applied.
RULES: tuple[Rule, ...] = (
    _rule(
        "private key",
        r"-----BEGIN ([A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?)-----(?!\(secret\)|\s*\Z)"
        r"[^-]*(?:-(?!----END)[^-]*)*(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        rf"-----BEGIN \1-----{MASK}",
    ),
    _rule(
        "authorization",
        r"(\b(?:proxy-)?authorization(?:\\{0,3}[\"'])?[ \t]{0,4}[:=][ \t]{0,4}(?:\\{0,3}[\"'])?"
        r"(?:bearer|basic|negotiate|digest|aws4-hmac-sha256)[ \t]++)(?!\(secret\))[^\n\r\"'\\]+",
        rf"\1{MASK}",
        _I,
    ),
    _rule("bearer ", r"\b(bearer[ \t]+)(?=[^\s\d]{0,64}\d|\S{24})[\w.~+/=-]{12,}", rf"\1{MASK}", _I),
    _rule(
        "cookie|x-a",
        r"\b((?:set-)?cookie|x-(?:api-key|auth-token|access-token|amz-security-token))"
        r"((?:\\{0,3}[\"'])?[ \t]{0,4}:[ \t]{0,4}+(?:\\{0,3}[\"'])?+)(?!\(secret\))[^\n\r\"'\\]+",
        rf"\1\2{MASK}",
        _I,
    ),
    _rule("://", r"(://[^\s/:@\"'<>]*:)(?!\(secret\)@)[^\s/\"'<>]+(?=@)", rf"\1{MASK}"),
    _rule("://", r"(://)[^\s/:@\"'<>()]{20,}(?=@)", rf"\1{MASK}"),
    _rule(
        "hooks.slack.com|webhooks/|telegram.org",
        r"(hooks\.slack\.com/(?:services|workflows|triggers)/|/api/webhooks/|api\.telegram\.org/bot)"
        r"(?!\(secret\))[\w:/.-]+",
        rf"\1{MASK}",
        _I,
    ),
    _rule(
        "slack://|discord://|tgram://|telegram://|pagerduty://|opsgenie://|msteams://|mailgun://|twilio://"
        "|pushover://|matrix://|matrixs://|sendgrid://|ntfy://|ntfys://|gotify://|gotifys://|victorops://"
        "|splunk://",
        r"\b((?:slack|discord|tgram|telegram|pagerduty|opsgenie|msteams|mailgun|twilio|pushover|matrixs?"
        r"|sendgrid|ntfys?|gotifys?|victorops|splunk)://)(?!\(secret\))[^\s\"'<>]+",
        rf"\1{MASK}",
        _I,
    ),
    _rule("akia|asia", r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b", MASK),
    _rule("aiza|ya29.|gocspx-", r"\b(?:AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,})", MASK),
    _rule(
        "ghp_|gho_|ghu_|ghs_|ghr_|github_pat_", r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})", MASK
    ),
    _rule(
        "glpat-|gldt-|glrt-|glsoat-|glcbt-|glptt-|glft-|glimt-|glagent-|gloas-",
        r"\bgl(?:pat|dt|rt|soat|cbt|ptt|ft|imt|agent|oas)-[\w.-]{16,}",
        MASK,
    ),
    _rule("xox|xapp-", r"\b(?:xox[a-z](?:\.xox[a-z])?-|xapp-)[\w-]{10,}", MASK),
    _rule(
        "k_live_|k_test_|sk-|hf_|npm_|pypi-|sg.|hvs.|hvb.|dop_v1_|glsa_|glc_|dckr_pat_|age-secret-key-|shpat_",
        r"\b(?:[sr]k_(?:live|test)_\w{16,}|sk-[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{30,}"
        r"|pypi-[\w-]{50,}|SG\.[\w-]{16,}\.[\w-]{16,}|hv[sb]\.[\w-]{20,}|dop_v1_[a-f0-9]{40,}|gls?[ac]_\w{20,}"
        r"|dckr_pat_[\w-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{20,}|shpat_[a-f0-9]{32})",
        MASK,
    ),
    _rule("eyj", r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*){0,3}", MASK),
    _rule(
        "$1$|$5$|$6$|$y$|$2a$|$2b$|$2y$|$argon2|$scrypt|$7$",
        r"\$(?:[1567y]|2[aby]|argon2\w{0,2}|scrypt)\$[\w./$=,+-]{20,}",
        MASK,
    ),
    _rule(
        "sig=|signature=|x-amz-",
        r"([?&;](?:sig|signature|x-amz-(?:signature|credential|security-token))=)(?!\(secret\))[^\s&\"'<>]+",
        rf"\1{MASK}",
        _I,
    ),
    _rule(
        "pass|token|secret|key|credential",
        rf"((?<!\S)--?(?:[a-z0-9]+[-_.]){{0,5}}{_NAME}[ \t]++)(?!-|\(secret\)|\{{|\$|<)"
        r"(?:\"[^\"\n]*\"?|'[^'\n]*'?|[^\s\"']+)",
        rf"\1{MASK}",
        _I,
    ),
    _rule(
        "curl|wget|--user",
        r"((?<!\S)(?:-u|--user|--proxy-user)[ =][\"']?[^\s:\"']{1,256}:)(?!\(secret\))[^\s\"']+",
        rf"\1{MASK}",
    ),
    _rule(
        "pass",
        r"^([ \t]*(?:- )?[\w.-]{0,60}?pass(?:word|wd|phrase):[ \t]++)(?![\"'{\[|>&*!$<%(#]|null\b|none\b)"
        r"(?=[^\n]*\S[ \t]+\S)[^\n#]*[^\s#]",
        rf"\1{MASK}",
        _I | re.MULTILINE,
    ),
    Rule(
        ("pass", "pwd", "secret", "token", "credential", "authorization", *_KEYS),
        re.compile(
            rf"(?P<name>{_NAME}){_MORE}(?P<close>\\{{0,3}}[\"'])?[ \t]{{0,8}}(?P<sep>=>|:=|[:=])"
            rf"[ \t]{{0,8}}{_VALUE}",
            _I,
        ),
        _named,
        here=True,
    ),
    _rule("auth", r"(\"auth\"[ \t]?:[ \t]?\")[A-Za-z0-9+/=]{8,}(?=\")", rf"\1{MASK}"),
)

#: Whole names, as keys of data: what they hold is masked.
SECRET_NAME = re.compile(rf"(?:[\w .-]{{0,80}}?[-_. ]|[a-z0-9]{{0,40}}?)?{_NAME}{_MORE}", _I)
#: Whole words of a command line after which a secret follows.
SECRET_FLAG = re.compile(rf"--?(?:[a-z0-9]+[-_.]){{0,5}}{_NAME}", _I)


def names_secret(name: str) -> bool:
    """Whether what stands under this name is a secret."""
    found = SECRET_NAME.fullmatch(name) if len(name) <= 120 else None
    return bool(found) and re.split(r"[-_.]", name.lower())[-1] not in _ABOUT


def is_nothing(value: str) -> bool:
    """Whether a value under such a name is none: empty, a template, masked already."""
    return not value.strip() or bool(_NOTHING.match(value))
