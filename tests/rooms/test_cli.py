"""The command line as a user meets it: processes, exit codes, what stands on standard output and error."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

import mailgenius
from mailgenius.servers import postgres
from tests.faults.proxy import FaultProxy

HEADER = "E-mail,First name,Company\n"
LEADS = (
    HEADER + 'ana@example.com,Ana,"Sol, Ltd"\nlee@example,Lee,\nANA@example.com,Ana,\nzoe@example.org,Zoë,\x1b[31mRed\n'
)
Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose server stays up for the whole module: one user holds it."""
    folder = tmp_path_factory.mktemp("home")
    with mailgenius.open(home=folder):
        yield folder


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILGENIUS_")}
    return {**kept, "MAILGENIUS_HOME": str(home), "COLUMNS": "160", "NO_COLOR": "1", "PYTHONWARNINGS": "error"}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    def run(*words: str, code: int = 0, stdin: str | bytes = b"", **more: str) -> Result:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [sys.executable, "-m", "mailgenius.cli", *words],
            env={**environment, **more},
            cwd=tmp_path,
            input=data,
            capture_output=True,
            check=False,
            timeout=60,
        )
        made = Result(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert made.returncode == code, made.stdout + made.stderr
        assert "Traceback" not in made.stderr
        return made

    return run


@pytest.fixture
def leads(tmp_path: Path) -> Path:
    file = tmp_path / "leads.csv"
    file.write_text(LEADS, "utf-8")
    return file


def outcomes(text: str) -> dict[str, int]:
    return {name: int(count.replace(",", "")) for name, count in re.findall(r"^(\w+) +([\d,]+)(?: |$)", text, re.M)}


def test_import_says_what_happened_to_every_row(run: Run, leads: Path) -> None:
    done = run("import", "leads.csv", "--workspace", "plain", "--tag", "expo", "--rejects", "rejects.csv")
    counts = outcomes(done.stdout)
    assert counts["inserted"] == 2
    assert counts["duplicates"] == 1
    assert counts["rejected"] == 1
    assert counts["total"] == 4
    assert "email.domain_no_dot" in done.stdout
    assert "rejects.csv" in done.stdout
    assert done.stderr == ""
    assert not re.search(r" $", done.stdout, re.M)
    assert run("leads", "count", "-w", "plain").stdout == "2\n"

    again = run("import", "leads.csv", "--workspace", "plain")
    assert outcomes(again.stdout)["existing"] == 2


def test_as_json(run: Run, leads: Path) -> None:
    report = msgspec.json.decode(run("import", "leads.csv", "-w", "json", "--json").stdout)
    assert (report["rows"], report["inserted"], report["rejected"]) == (4, 2, 1)
    assert report["problems"][0]["message"] == "has a domain without a dot"
    assert msgspec.json.decode(run("leads", "count", "-w", "json", "--json").stdout) == {
        "workspace": "json",
        "count": 2,
    }
    (ana,) = msgspec.json.decode(run("leads", "show", "-w", "json", "Ana@Example.com", "--json").stdout)
    assert ana["company"] == "Sol, Ltd"
    page = msgspec.json.decode(run("leads", "show", "-w", "json", "--limit", "1", "--json").stdout)
    assert len(page["leads"]) == 1
    rest = msgspec.json.decode(run("leads", "show", "-w", "json", "--cursor", page["next"], "--json").stdout)
    assert len(rest["leads"]) == 1
    assert rest["leads"][0]["id"] > page["leads"][0]["id"]
    assert rest["next"] is None


def test_standard_input_and_mapping(run: Run) -> None:
    text = "a=b;mail;note\nx;ana@example.com;hello\n"
    words = ["--column", "mail=email", "--column", "a=b=first_name", "--column", "note=ignore", "--json"]
    report = msgspec.json.decode(run("import", "-", "-w", "stdin", *words, stdin=text).stdout)
    assert report["mapping"] == {"a=b": "first_name", "mail": "email", "note": "ignore"}
    assert "ana@example.com" in run("leads", "show", "-w", "stdin").stdout


def test_preview_needs_no_database(run: Run, leads: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "nothing here"
    done = run("import", "leads.csv", "--preview", "--rows", "2", MAILGENIUS_HOME=str(elsewhere))
    assert "first_name" in done.stdout
    assert "email.domain_no_dot" in done.stdout
    assert not elsewhere.exists()
    run("import", "leads.csv", "--preview", "--strict", code=3)


def test_dry_run_writes_nothing(run: Run, leads: Path) -> None:
    run("import", "leads.csv", "-w", "dry", "--dry-run")
    run("leads", "count", "-w", "dry", code=2)


def test_update_and_undo(run: Run, leads: Path) -> None:
    run("import", "leads.csv", "-w", "undo", "--quiet")
    update = HEADER + "ana@example.com,Anna,\n"
    words = ["--on-existing", "update", "--update-columns", "first_name", "--json"]
    report = msgspec.json.decode(run("import", "-", "-w", "undo", *words, stdin=update).stdout)
    assert report["updated"] == 1
    assert "Anna" in run("leads", "show", "-w", "undo", "ana@example.com").stdout
    assert "1 restored" in run("import", "--undo", str(report["import_id"])).stdout
    assert "Anna" not in run("leads", "show", "-w", "undo", "ana@example.com").stdout


def test_resume_of_a_finished_import_gives_its_report(run: Run, leads: Path) -> None:
    first = msgspec.json.decode(run("import", "leads.csv", "-w", "again", "--json").stdout)
    assert msgspec.json.decode(run("import", "--resume", str(first["import_id"]), "--json").stdout) == first


def test_strict_and_quiet(run: Run, leads: Path) -> None:
    done = run("import", "leads.csv", "-w", "strict", "--strict", "--quiet", code=3)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["import", "missing.csv", "-w", "x"], "missing.csv"),
        (["import", ".", "-w", "x"], "."),
        (["import", "leads.csv", "-w", "No Such Slug!"], "workspace"),
        (["import", "leads.csv", "-w", "x", "--column", "Nothing=email"], "Nothing"),
        (["import", "leads.csv", "-w", "x", "--update-columns", "city"], "update_columns"),
        (["import", "--resume", "999999"], "999999"),
        (["import", "--undo", "999999"], "999999"),
        (["leads", "count", "-w", "nobody"], "nobody"),
        (["leads", "show", "-w", "nobody"], "nobody"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(run: Run, leads: Path, words: Sequence[str], says: str) -> None:
    done = run(*words, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("mailgenius: ")
    assert says in done.stderr
    document = msgspec.json.decode(run(*words, "--json", code=2).stdout)
    assert says in document["error"]["message"]


def test_no_database_is_an_error_of_the_world(run: Run, leads: Path) -> None:
    url = "postgresql://user:secret@127.0.0.1:1/nothing"
    done = run("leads", "count", "-w", "x", "--database-url", url, code=1)
    assert done.stderr.startswith("mailgenius: ")
    assert "secret" not in done.stderr


def test_on_existing_fail_imports_nothing(run: Run, leads: Path) -> None:
    run("import", "leads.csv", "-w", "fail", "--quiet")
    more = HEADER + "new@example.com,New,\nana@example.com,Ana,\n"
    done = run("import", "-", "-w", "fail", "--on-existing", "fail", "--json", stdin=more, code=1)
    assert msgspec.json.decode(done.stdout)["error"]["kind"] == "ImportConflict"
    assert run("leads", "count", "-w", "fail").stdout == "2\n"


def test_migrate(run: Run) -> None:
    assert "The schema is up to date." in run("migrate").stdout
    assert msgspec.json.decode(run("migrate", "--json").stdout)["migrations"][0]["number"] == 1


def test_control_characters_of_a_file_do_not_reach_the_terminal(run: Run, leads: Path) -> None:
    run("import", "leads.csv", "-w", "escape", "--quiet")
    for words in (["show", "-w", "escape"], ["show", "-w", "escape", "zoe@example.org"]):
        text = run("leads", *words).stdout
        assert "\x1b" not in text
        assert "\\x1b[31mRed" in text
    assert "\x1b" not in run("import", "leads.csv", "--preview").stdout


def test_debug_shows_the_traceback(environment: dict[str, str], tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mailgenius.cli", "import", "missing.csv", "-w", "x"]
    done = subprocess.run(
        words, env={**environment, "MAILGENIUS_DEBUG": "1"}, cwd=tmp_path, capture_output=True, check=False, text=True
    )
    assert "Traceback" in done.stderr


def test_a_closed_pipe_is_not_an_error_message(environment: dict[str, str], leads: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mailgenius.cli", "import", "leads.csv", "--preview"],
            env=environment,
            cwd=tmp_path,
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(write)
    assert done.stderr == b""


def test_progress_in_a_log_is_lines(run: Run, leads: Path) -> None:
    done = run("import", "leads.csv", "-w", "lines", "--progress", "--quiet")
    assert "loading 100.0 %" in done.stderr
    assert done.stdout == ""


def big(path: Path, rows: int) -> Path:
    with path.open("w") as file:
        file.write(HEADER)
        file.writelines(f"lead{number * 7919 % rows:08}@example.com,Lead {number},\n" for number in range(rows))
    return path


@pytest.mark.parametrize(("sent", "kind"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "Terminated")])
def test_progress_on_a_terminal_and_an_interrupt_that_can_be_resumed(
    run: Run, environment: dict[str, str], tmp_path: Path, sent: signal.Signals, kind: str
) -> None:
    workspace = kind.lower()
    rows = 200_000
    big(tmp_path / "big.csv", rows)
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "mailgenius.cli", "import", "big.csv", "-w", workspace, "--json"]
    small = {"MAILGENIUS_IMPORTER_CHUNK_ROWS": "1000"}  # many commits, so that there is a middle to stop in
    process = subprocess.Popen(
        words, env={**environment, **small, "TERM": "xterm"}, cwd=tmp_path, stdout=subprocess.PIPE, stderr=slave
    )
    os.close(slave)
    seen = b""
    try:
        while b"loading" not in seen:
            ready, _, _ = select.select([master], [], [], 60)
            assert ready, seen
            seen += os.read(master, 1 << 16)
        process.send_signal(sent)
        while True:
            try:
                seen += os.read(master, 1 << 16)
            except OSError:  # the other end is closed
                break
        assert process.stdout is not None
        document = msgspec.json.decode(process.stdout.read())
        assert process.wait(60) == 128 + sent, seen
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        os.close(master)
    assert b"reading" in seen
    assert b"rows" in seen
    assert document["error"]["kind"] == kind
    import_id = document["error"]["import_id"]
    assert f"mailgenius import big.csv --resume {import_id}".encode() in seen

    report = msgspec.json.decode(run("import", "--resume", str(import_id), "--json").stdout)
    assert report["rows"] == rows == report["inserted"]
    assert run("leads", "count", "-w", workspace).stdout == f"{rows}\n"


def test_a_lost_database_ends_with_1_and_the_command_that_goes_on(run: Run, tmp_path: Path) -> None:
    rows = 20_000
    big(tmp_path / "big.csv", rows)
    with postgres(tmp_path / "pg", port=0) as server:
        run("migrate", "--database-url", server.dsn)
        assert server.port is not None
        with FaultProxy(("127.0.0.1", server.port)) as proxy:
            proxy.arm(500_000, proxy.close)  # in the middle of the rows; nobody answers afterwards
            url = re.sub(r"port=\d+", f"port={proxy.port}", server.dsn)
            more = {"MAILGENIUS_IMPORTER_CHUNK_ROWS": "1000", "MAILGENIUS_IMPORTER_RECONNECT_SECONDS": "1"}
            done = run("import", "big.csv", "-w", "lost", "--database-url", url, "--json", code=1, **more)
        document = msgspec.json.decode(done.stdout)["error"]
        assert document["kind"] == "ImportFailed"
        resume = re.search(
            r"Go on with: mailgenius (import big\.csv --resume \d+) --database-url \(the same URL\)", done.stderr
        )
        assert resume is not None, done.stderr
        assert done.stderr.startswith("mailgenius: ")  # not what the pool logs
        assert "password" not in done.stderr
        report = msgspec.json.decode(run(*resume[1].split(), "--database-url", server.dsn, "--json").stdout)
        assert report["rows"] == rows == report["inserted"]
        assert report["import_id"] == document["import_id"]
