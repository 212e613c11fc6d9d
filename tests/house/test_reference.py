"""The reference says what the code says: reasons, errors, settings, options, arguments, report fields."""

import argparse
import inspect
import re
from collections.abc import Iterator

import msgspec

from benchmarks.readme import END, START, with_rows
from mailgenius import _native, config, errors
from mailgenius.cache.django import Options
from mailgenius.cli.exits import MEANING
from mailgenius.cli.parser import build_parser
from mailgenius.importer import Importer, ImportReport, Progress
from mailgenius.leads import CampaignStats, Leads, Segment
from mailgenius.leads.attribute import OPERATORS
from mailgenius.leads.model import OUTCOMES
from mailgenius.leads.paging import ORDERS
from mailgenius.queue import STATES, Backoff, Policy, Queue
from mailgenius.queue.states import diagram
from tests.house import tree

INTERNAL = {"ok", "email.idn"}  # never the reason of a rejected row


def page(name: str) -> str:
    return (tree.ROOT / "docs" / "reference" / name).read_text("utf-8")


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def section(text: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, f"no section {title}"
    return found[1]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def compare(page: str, wanted: set[str], written: set[str]) -> None:
    tree.report(
        [f"{page} does not have {name}" for name in sorted(wanted - written)]
        + [f"{page} has {name}, which the code does not" for name in sorted(written - wanted)]
    )


def test_reasons() -> None:
    table = {codes(row[0])[0]: row[1] for row in rows(page("reasons.md")) if codes(row[0])}
    texts = dict(zip(_native.REASONS, _native.REASON_TEXTS, strict=True))
    wanted = {code: text for code, text in texts.items() if code not in INTERNAL}
    compare("docs/reference/reasons.md", set(wanted), set(table))
    tree.report(
        [
            f"{code}: the page says {table[code]!r}, the code {wanted[code]!r}"
            for code in wanted
            if table[code] != wanted[code]
        ]
    )


def test_errors() -> None:
    wanted = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.MailgeniusError) and value is not errors.MailgeniusError
    }
    written = {codes(row[0])[0] for row in rows(page("errors.md")) if codes(row[0])}
    compare("docs/reference/errors.md", wanted, written)


def test_exit_codes() -> None:
    written = {int(row[0]): row[1].replace("`", "") for row in rows(page("cli.md")) if row[0].isdigit()}
    assert written == {code.value: meaning for code, meaning in MEANING.items()}


def options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """(command, long option) of every command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                for inner, option in options(command):
                    yield f"{name} {inner}".strip(), option
        else:
            for option in action.option_strings:
                if option.startswith("--") and option not in ("--help", "--version"):
                    yield "", option


def test_options_of_the_command_line() -> None:
    text = page("cli.md")
    written = set(re.findall(r"`(--[a-z-]+)", text))
    compare("docs/reference/cli.md", {option for _, option in options(build_parser())}, written)
    commands = {command for command, _ in options(build_parser())}
    tree.report(
        [
            f"docs/reference/cli.md shows no `mailgenius {command}`"
            for command in commands
            if f"mailgenius {command}" not in text
        ]
    )


def shown(default: object) -> str:
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return str(default).lower()  # as in TOML
    return f"{default:,}" if isinstance(default, int | float) else str(default)


def test_settings() -> None:
    text = page("settings.md")
    plain = [
        field for field in msgspec.structs.fields(config.Settings) if not isinstance(field.default, msgspec.Struct)
    ]
    sections = {"Everything": {field.name: field.default for field in plain}}
    for field in msgspec.structs.fields(config.Settings):
        if isinstance(field.default, msgspec.Struct):
            inner = msgspec.structs.fields(type(field.default))
            sections[field.name] = {f"{field.name}.{setting.name}": setting.default for setting in inner}
    for title, wanted in sections.items():
        table = {codes(row[0])[0]: row[1] for row in rows(section(text, title)) if codes(row[0])}
        compare(f"docs/reference/settings.md, {title}", set(wanted), set(table))
        tree.report(
            [
                f"docs/reference/settings.md: the default of {name} is {shown(default)}, not {table[name]}"
                for name, default in wanted.items()
                if table[name].replace("`", "") != shown(default)
            ]
        )


def test_options_of_django_caches() -> None:
    text = (tree.ROOT / "docs" / "guides" / "django.md").read_text("utf-8")
    table = {codes(row[0])[0]: row[1].replace("`", "") for row in rows(text) if len(row) == 3 and codes(row[0])}
    fields = msgspec.structs.fields(Options)
    compare("docs/guides/django.md", {field.name for field in fields}, set(table))
    wanted = {field.name: field.default for field in fields if field.default is not msgspec.NODEFAULT}
    tree.report(
        [
            f"docs/guides/django.md: the default of {name} is {shown(default)}, not {table[name]}"
            for name, default in wanted.items()
            if table[name].replace(",", "") != shown(default).replace(",", "")
        ]
    )


def test_arguments_of_run() -> None:
    text = page("importer.md")
    parameters = dict(inspect.signature(Importer.run).parameters)
    del parameters["self"]
    table = {codes(row[0])[0]: row[1] for row in rows(section(text, "run")) if codes(row[0])}
    compare("docs/reference/importer.md, run", set(parameters), set(table))
    tree.report(
        [
            f"docs/reference/importer.md: the default of {name} is {parameter.default!r}"
            for name, parameter in parameters.items()
            if parameter.default is not parameter.empty
            and codes(table[name]) != [repr(parameter.default).replace("'", '"')]
        ]
    )


def test_fields_of_reports() -> None:
    text = page("importer.md")
    for kind, extra in ((ImportReport, {"rows_per_second"}), (Progress, set())):
        written = {name for row in rows(section(text, kind.__name__)) for name in codes(row[0])}
        compare(f"docs/reference/importer.md, {kind.__name__}", set(kind.__struct_fields__) | extra, written)


def test_keywords_of_segments() -> None:
    text = page("segment.md")
    keywords = {codes(row[0])[0] for row in rows(section(text, "Keywords")) if codes(row[0])}
    compare("docs/reference/segment.md, Keywords", set(Segment.__struct_fields__), keywords)
    operators = {operator for row in rows(section(text, "Attribute")) for operator in codes(row[0])}
    compare("docs/reference/segment.md, Attribute", set(OPERATORS), operators)


def test_calls_of_leads() -> None:
    text = page("leads.md")
    written = {}
    for title in ("Reading", "Attributes", "Campaigns", "Duplicates", "Writing"):
        for row in rows(section(text, title)):
            for call in codes(row[0]):
                name, _, arguments = call.partition("(")
                written[name] = arguments.removesuffix(")")
    methods = {name: method for name, method in inspect.getmembers(Leads, inspect.isfunction) if name[0] != "_"}
    compare("docs/reference/leads.md", set(methods), set(written))
    for name, method in methods.items():
        plain = inspect.signature(method).replace(return_annotation=inspect.Signature.empty)
        bare = [p.replace(annotation=inspect.Parameter.empty) for p in plain.parameters.values() if p.name != "self"]
        assert str(plain.replace(parameters=bare)).replace("'", '"') == f"({written[name]})"
    outcomes = {codes(row[0])[0] for row in rows(section(text, "Upserted")) if codes(row[0])}
    compare("docs/reference/leads.md, Upserted", set(OUTCOMES), outcomes)
    fields = {name for row in rows(section(text, "CampaignStats")) for name in codes(row[0])}
    compare("docs/reference/leads.md, CampaignStats", set(CampaignStats.__struct_fields__[4:]), fields)
    orders = section(text, "Reading").partition("**order** is one of")[2].partition(".")[0]
    assert codes(orders) == list(ORDERS)


def test_figures_in_the_readme() -> None:
    """A measured number stands in docs/benchmarks.md; README.md repeats rows of it, word for word."""
    measured = tree.ROOT / "docs" / "benchmarks.md"
    readme = (tree.ROOT / "README.md").read_text("utf-8")
    assert readme.count(START) == readme.count(END) == 1
    if measured.exists():
        assert with_rows(readme, measured.read_text("utf-8")) == readme, "run `python -m benchmarks.report`"


def test_states_of_jobs() -> None:
    text = page("queue.md")
    assert diagram() in text
    written = {row[0].strip("`"): row[1:] for row in rows(text) if row[0].strip("`") in STATES and len(row) == 3}
    assert written == {
        name: [state.meaning, "; ".join(f"`{other}`: {by}" for other, by in state.becomes)]
        for name, state in STATES.items()
    }


def test_fields_of_a_policy() -> None:
    written = {
        codes(row[0])[0].removeprefix("policy."): row[1].strip("`")
        for row in rows(page("queue.md"))
        if row[0].startswith("`policy.")
    }
    wanted = {name: getattr(Policy(), name) for name in Policy.__struct_fields__}
    assert written == {
        name: "Backoff()" if value == Backoff() else shown(value).strip("`") for name, value in wanted.items()
    }


def test_calls_of_a_queue() -> None:
    written = {name for row in rows(page("queue.md")) for name in re.findall(r"`(\w+)\(", row[0])}
    wanted = {name for name, value in vars_of(Queue) if callable(value) and not name.startswith("_")}
    inner = {"check", "configure", "take", "taken", "tick"}  # a worker's, and the outbox's
    tree.report([f"docs/reference/queue.md does not have {name}()" for name in sorted(wanted - inner - written)])


def vars_of(kind: type) -> Iterator[tuple[str, object]]:
    for one in kind.__mro__[:-1]:
        yield from vars(one).items()
