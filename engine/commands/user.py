"""``runbook user``: who may log in to the page of ``runbook serve``.

Passwords are asked for without echo, or read from the first line of stdin where that is no terminal; never
from the command line, where every process of the host could read them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from engine.commands.printing import Json, emit, new_app, table
from engine.errors import UnknownName, UsageError
from engine.server import settings
from engine.server.messages import Role
from engine.server.worker import passwords, users
from engine.server.worker.users import User

app = new_app()
user = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    epilog="Example: runbook user add anna --role approver",
)
app.add_typer(user, name="user", help="Say who may log in to the page, and as what.")

Name = Annotated[str, typer.Argument(help="The user.", show_default=False)]
File = Annotated[
    Path | None,
    typer.Option("--file", help="The users; else `people.users_file` of the settings.", show_default=False),
]
AsRole = Annotated[
    Role,
    typer.Option("--role", help="viewer looks, operator starts and undoes, approver answers as well."),
]


@user.command(epilog="Example: runbook user add anna --role approver")
def add(name: Name, role: AsRole = "viewer", file: File = None) -> None:
    """Let somebody log in; asks for the password."""
    path, people = _all(file)
    if any(one.name == name for one in people):
        raise UsageError(
            f"there is a user {name} already",
            fix=f"runbook user passwd {name}, or runbook user role {name} ROLE",
        )
    if not users.NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} can't be a user's name",
            fix="1 to 64 letters, digits or . _ @ + -, a letter or digit first",
        )
    users.save(path, (*people, User(name=name, role=role, password=passwords.make(_password()))))
    typer.echo(f"{name} may log in as {role}")


@user.command(epilog="Example: runbook user remove anna")
def remove(name: Name, file: File = None) -> None:
    """Take a user away; sessions and links of theirs end at once."""
    path, people = _all(file)
    _known(name, people)
    users.save(path, (one for one in people if one.name != name))
    typer.echo(f"{name} may log in no more")


@user.command("list", epilog="Example: runbook user list")
def list_(file: File = None, as_json: Json = False) -> None:
    """List the users and their roles."""
    path, people = _all(file)
    if as_json:
        emit({"users": [{"name": one.name, "role": one.role} for one in people], "file": str(path)})
    elif people:
        table(("name", "role"), [(one.name, one.role) for one in people])
    else:
        typer.echo(
            f"nobody can log in: {path} has no users; add one with: runbook user add NAME --role approver"
        )


@user.command(epilog="Example: runbook user passwd anna")
def passwd(name: Name, file: File = None) -> None:
    """Give a user another password; their sessions end."""
    path, people = _all(file)
    _known(name, people)
    hashed = passwords.make(_password())
    users.save(path, (_changed(one, name, password=hashed) for one in people))
    typer.echo(f"{name} has a new password; whoever was logged in as {name} logs in again")


@user.command("role", epilog="Example: runbook user role anna operator")
def role_(
    name: Name, role: Annotated[Role, typer.Argument(help="What they may do.")], file: File = None
) -> None:
    """Give a user another role; their sessions end."""
    path, people = _all(file)
    _known(name, people)
    users.save(path, (_changed(one, name, role=role) for one in people))
    typer.echo(f"{name} may log in as {role}")


def _all(file: Path | None) -> tuple[Path, tuple[User, ...]]:
    path = file or Path(settings.load().people.users_file)
    return path, users.load(path)


def _known(name: str, people: tuple[User, ...]) -> None:
    if all(one.name != name for one in people):
        raise UnknownName("user", name, [one.name for one in people])


def _changed(one: User, name: str, **further: str) -> User:
    return msgspec.structs.replace(one, **further) if one.name == name else one


def _password() -> str:
    """Asked for twice without echo, or the first line of stdin."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt="The same again", err=True))
    return sys.stdin.readline(passwords.LONGEST * 4).rstrip("\r\n")
