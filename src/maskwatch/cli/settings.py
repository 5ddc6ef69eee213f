"""Options from a file and from the environment: flag, then environment, then file, then default.

    # maskwatch.toml
    [defaults]                       # for every command that has the option
    model = "small"

    [image]
    score-threshold = 0.6

    [data.crops]
    least-px = 24

    [live]
    sink = ["postgresql://maskwatch:${DB_PASSWORD}@db/site"]

In the environment the same option is MASKWATCH_LIVE_SINK. Values are never part of a message: they may
hold passwords.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from maskwatch.errors import OptionError
from maskwatch.suggest import did_you_mean

FILE_NAME: Final = "maskwatch.toml"
FILE_VARIABLE: Final = "MASKWATCH_CONFIG"
_PREFIX: Final = "MASKWATCH"
_ALL: Final = "defaults"
_UNSETTABLE: Final = ("help", "version", "config", "verbose", "install-completion", "show-completion")


def settings_file(named: Path | None) -> Path | None:
    """The file to read: the one named, that of MASKWATCH_CONFIG (empty: none), or ./maskwatch.toml."""
    if named is not None:
        return named
    told = os.environ.get(FILE_VARIABLE)
    if told is not None:
        return Path(told) if told else None
    here = Path(FILE_NAME)
    return here if here.is_file() else None


def settings(group: Any, context: Any, file: Path | None, words: list[str]) -> dict[str, Any]:
    """Values for the command that `words` name, in the shape of click's `default_map`.

    All of the file is checked for unknown tables and keys; only the values of this command are converted.

    Raises:
        OptionError: the file cannot be read, has an unknown table or key, or a value does not fit.
    """
    from maskwatch.rules_file import expand_variables, read_toml  # help does without NumPy

    content = {} if file is None else read_toml(file)
    commands = {words: command for words, command in walk(group) if not hasattr(command, "commands")}
    if file is not None:
        _check_keys(content, commands, str(file))
    chosen = _chosen(commands, words)
    if chosen is None:
        return {}
    values = {}
    for key, option in settable(commands[chosen]).items():
        variable = variable_of(chosen, key)
        if os.environ.get(variable):
            told: Any = os.environ[variable]
            values[option.name] = _value(option, told.split() if option.multiple else told, variable, context)
        elif file is not None:
            told, place = _in_file(content, chosen, key)
            if told is not None:
                name = f"{file}: {place}"
                values[option.name] = _value(option, expand_variables(told, name), name, context)
    for word in reversed(chosen):
        values = {word: values}
    return values


def variable_of(words: tuple[str, ...], key: str) -> str:
    """The variable of the environment for an option of a command."""
    return "_".join((_PREFIX, *words, key)).replace("-", "_").upper()


def walk(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group below `group`, with the words that call it."""
    for name, command in group.commands.items():
        yield (*words, name), command
        if hasattr(command, "commands"):
            yield from walk(command, (*words, name))


def settable(command: Any) -> dict[str, Any]:
    """The options of a command by the first long name, without its dashes."""
    found = {}
    for option in command.params:
        if option.param_type_name == "option" and (key := _long(option)) not in _UNSETTABLE:
            found[key] = option
    return found


def _chosen(commands: dict[tuple[str, ...], Any], words: list[str]) -> tuple[str, ...] | None:
    """The command that the first words of the command line name."""
    return next((one for one in commands if tuple(words[: len(one)]) == one), None)


def _check_keys(content: dict[str, Any], commands: dict[tuple[str, ...], Any], file: str) -> None:
    """Refuse what no command knows."""
    known: dict[str, set[str]] = {" ".join(words): set(settable(one)) for words, one in commands.items()}
    known[_ALL] = set().union(*known.values())
    groups = {words[0] for words in commands if len(words) > 1}
    tables: dict[str, Any] = {}
    for name, table in content.items():
        if name in groups and isinstance(table, dict):
            tables.update({f"{name} {inner}": one for inner, one in table.items()})
        else:
            tables[name] = table
    for name, table in tables.items():
        shown = name.replace(" ", ".")
        if name not in known:
            raise OptionError(
                f"{file}: no command has a table [{shown}]"
                f"{did_you_mean(name, known) or '; there are [defaults], [image], [data.crops] …'}"
            )
        if not isinstance(table, dict):
            raise OptionError(f"{file}: {shown} must be a table; write [{shown}] on a line of its own")
        for key in table:
            if key.replace("_", "-") not in known[name]:
                aliases = {} if name == _ALL else _aliases(commands[tuple(name.split(" "))])
                meant = str(aliases.get(key, key)).replace("_", "-")
                means = did_you_mean(meant, known[name])
                raise OptionError(
                    f"{file}: [{shown}] has no option {key}{means or '; see docs/configuration.md'}"
                )


def _aliases(command: Any) -> dict[str, str]:
    """Other long names of a command's options, as a file might have them, and the first ones."""
    options = settable(command).items()
    return {name.lstrip("-"): key for key, option in options for name in option.opts}


def _in_file(content: dict[str, Any], words: tuple[str, ...], key: str) -> tuple[Any, str]:
    """What the file says of an option, and where; the command's own table goes before [defaults]."""
    table: Any = content
    for word in words:
        table = table.get(word, {})
    for name, one in ((".".join(words), table), (_ALL, content.get(_ALL, {}))):
        for spelled in (key, key.replace("-", "_")):
            if spelled in one:
                return one[spelled], f"[{name}] {spelled}"
    return None, ""


def _value(option: Any, told: Any, place: str, context: Any) -> Any:
    """`told` as the command line would have it.

    Raises:
        OptionError: it does not fit; the message says where, never what.
    """
    many = told if isinstance(told, list) else [told]
    kinds = (bool, str) if option.is_flag else (str, int, float)
    fits = (option.multiple or many is not told) and all(
        isinstance(one, kinds) and (option.is_flag or not isinstance(one, bool)) for one in many
    )
    if fits and not option.is_flag:
        told = list(map(str, many)) if option.multiple else str(told)
    if fits:
        try:
            option.process_value(context, told)
            return told
        except Exception as error:  # click's, under two names; a refusal is all that matters
            if not hasattr(error, "exit_code"):
                raise
    kind = "true or false" if option.is_flag else (option.metavar or "another value")
    raise OptionError(f"{place}: not what --{_long(option)} takes; write {kind}")


def _long(option: Any) -> str:
    """An option's first long name, without its dashes."""
    return next(name for name in option.opts if name.startswith("--")).removeprefix("--")
