"""The examples in README.md and docs/ are tests.

Every ```python block runs; the blocks of one page share a namespace and a fresh folder that holds `leads.csv`. In every
```console block, `$ mailgenius …` and pipes into it run in that folder, must end with 0 (or with what `# exit 2` behind
the command says), and print what the block shows, where it shows something (`...` stands for anything). Of other
commands only `make <target>` is checked: that the target exists. All pages share the embedded servers, in a data folder
of their own.
"""

import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

import mailgenius
from mailgenius.cache.django import close_all

pytest_plugins = ["tests.alone"]

ROOT = Path(__file__).parent
LEADS = """\
E-mail,First name,Last name,Company,Country,Birthday
ana@example.com,Ana,Souza,Padaria Sol,BR,12/03/1990
joao.silva@example.org,João,Silva,,PT,01/11/1985
ANA@example.com,Ana,Souza,Padaria Sol,BR,12/03/1990
lee@example,Lee,,"Lee, Ltd",UK,
zoë@bücher.example,Zoë,Brandt,Bücher,DE,30/06/1979
"""
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="session")
def docs_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mailgenius.Mailgenius]:
    """The servers of all pages. One user holds them, so that they need not start anew for every block."""

    folder = tmp_path_factory.mktemp("home")
    with mailgenius.open(home=folder) as mg:
        yield mg


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, docs_database: mailgenius.Mailgenius) -> Iterator[Path]:
    docs_database.pool.execute("truncate mailgenius.workspaces, mailgenius.leads cascade")  # each page begins with none
    docs_database.redis.call("FLUSHALL")
    folder = tmp_path_factory.mktemp("page")
    (folder / "leads.csv").write_text(LEADS, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MAILGENIUS_HOME", str(docs_database.settings.home))
        patch.delenv("MAILGENIUS_DATABASE_URL", raising=False)
        yield folder
    close_all()  # of Django's caches, which nobody closes


def commands(text: str) -> Iterator[tuple[str, str]]:
    """(command, expected output) of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = command[:-1] + more.removeprefix(">").strip()
        yield command, output


def console(example: Example) -> str | None:
    for command, wanted in commands(str(example.parsed)):
        if made := re.match(r"make ([a-z-]+)", command):
            if not re.search(rf"^{made[1]}:", (ROOT / "Makefile").read_text("utf-8"), re.M):
                return f"{command}: the Makefile has no such target"
            continue
        if not re.search(r"(^|\| *)mailgenius ", command):
            continue
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            [shutil.which("bash") or "sh", "-c", command],
            env={**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=100,
        )
        expected = re.search(r"# exit (\d+)", command)
        if done.returncode != (int(expected[1]) if expected else 0):
            return f"$ {command}\nended with {done.returncode}:\n{done.stdout}"
        if wanted.strip() and not doctest.OutputChecker().check_output(wanted, done.stdout, FLAGS):
            return f"$ {command}\nprinted:\n{done.stdout}\nthe page shows:\n{wanted}"
    return None


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser(language="console", evaluator=console), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
    fixtures=["page"],
).pytest()
