"""The command line's pure parts: its grammar, its words and numbers, and what reports look like."""

import io

import msgspec
import pytest
from rich.console import Console, RenderableType

from mailgenius.cli import parser, render
from mailgenius.cli.exits import MEANING, Exit, Terminated, exit_for
from mailgenius.cli.importing import document, resume_command
from mailgenius.cli.main import main
from mailgenius.cli.progress import ProgressBars, ProgressLines, Rates, line
from mailgenius.cli.text import clip, duration, number, percent, size, visible
from mailgenius.errors import ConfigError, ImportFailed, NotFound, SourceError
from mailgenius.importer.report import ImportPreview, ImportReport, PreviewRow, Problem, Progress, UndoReport

REPORT = ImportReport(
    import_id=7,
    workspace="acme",
    source="leads.csv",
    state="done",
    rows=100_000,
    inserted=94_990,
    updated=0,
    existing=3,
    duplicates=2_000,
    suppressed=7,
    rejected=3_000,
    reasons={"email.no_at": 2_999, "row.fields": 1},
    problems=[
        Problem(5, "E-mail", "email.no_at", "lee[bold]example"),
        Problem(1_234, "", "row.fields", "\x1b[31mred\u202e" + "x" * 300),
    ],
    duplicate_lines=[(4, 2), (9, 3)],
    warnings=["the column Birthday holds dates that could be read in two ways: 12/03/1990"],
    mapping={"E-mail": "email", "Idade [anos]": "attributes"},
    encoding="utf-8",
    delimiter=";",
    bytes=12_345_678,
    seconds=0.5,
    phases={"read": 0.2, "load": 0.3},
    rejects="rejects.csv",
)


def shown(what: RenderableType, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, markup=False).print(what)
    return out.getvalue()


def event(phase: str = "read", **changes: object) -> Progress:
    values = {
        "phase": phase,
        "bytes_done": 0,
        "bytes_total": 1_000_000,
        "rows_read": 0,
        "rows_loaded": 0,
        "rows_total": None,
        "rejected": 0,
        "seconds": 0.0,
    }
    return Progress(**(values | changes))  # type: ignore[arg-type]


class TestWords:
    @pytest.mark.parametrize(
        ("value", "seen"),
        [
            ("ana@example.com", "ana@example.com"),
            ("zoë 名前 👩‍💻", "zoë 名前 👩\\u200d💻"),
            ("\x1b[31mred", "\\x1b[31mred"),
            ("a\tb\r\nc", "a\\tb\\r\\nc"),
            ("\u202eevil", "\\u202eevil"),
            ("\ud800", "\\ud800"),
            ("", ""),
        ],
    )
    def test_values_from_files_cannot_steer_the_terminal(self, value: str, seen: str) -> None:
        assert visible(value) == seen

    def test_clip_marks_what_is_missing(self) -> None:
        assert clip("x" * 60) == "x" * 60
        assert clip("x" * 61) == "x" * 59 + "…"
        assert len(clip("\x00" * 100, 20)) == 20

    @pytest.mark.parametrize(
        ("part", "whole", "text"),
        [
            (0, 0, ""),
            (0, 5, "0.0 %"),
            (5, 5, "100.0 %"),
            (1, 10**6, "<0.1 %"),
            (10**6 - 1, 10**6, ">99.9 %"),
            (1, 3, "33.3 %"),
        ],
    )
    def test_percent_never_says_none_or_all_of_what_is_some(self, part: int, whole: int, text: str) -> None:
        assert percent(part, whole) == text

    @pytest.mark.parametrize(
        ("count", "text"),
        [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_600, "1.0 MB"),
            (250_000_000, "250 MB"),
            (3 * 10**12, "3000 GB"),
        ],
    )
    def test_size(self, count: int, text: str) -> None:
        assert size(count) == text

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.0123, "12 ms"),
            (0.9, "0.9 s"),
            (59.94, "59.9 s"),
            (59.96, "1 min 00 s"),
            (3599.7, "1 h 00 min"),
            (7384, "2 h 03 min"),
        ],
    )
    def test_duration(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text

    def test_number(self) -> None:
        assert number(1234567.6) == "1,234,568"


class TestReport:
    def test_says_what_happened_to_every_row(self) -> None:
        text = shown(render.report(REPORT))
        for outcome, count in [
            ("inserted", "94,990"),
            ("duplicates", "2,000"),
            ("suppressed", "7"),
            ("rejected", "3,000"),
        ]:
            (row,) = (r for r in text.splitlines() if r.startswith(outcome))
            assert row.split()[1] == count
        assert "100,000 rows, 12.3 MB in 0.5 s (200,000 rows/s; read 0.2 s, load 0.3 s)" in text
        assert "has no @" in text
        assert "4 (first on 2)" in text
        assert "mailgenius import --undo 7" in text
        assert "rejects.csv" in text
        assert "semicolon" in text
        assert "two ways" in text

    def test_reasons_come_with_the_most_frequent_first(self) -> None:
        text = shown(render.report(REPORT))
        assert text.index("email.no_at  2,999") < text.index("row.fields")

    def test_text_from_the_file_is_neither_markup_nor_control(self) -> None:
        text = shown(render.report(REPORT))
        assert "lee[bold]example" in text
        assert "Idade [anos] → attributes" in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\x1b[31mred\\u202exxx" in text

    def test_fits_a_narrow_terminal(self) -> None:
        assert max(map(len, shown(render.report(REPORT), width=60).splitlines())) <= 60

    def test_nothing_rejected_nothing_said_about_it(self) -> None:
        clean = msgspec.structs.replace(
            REPORT, rejected=0, reasons={}, problems=[], duplicate_lines=[], warnings=[], rejects=None, seconds=0.0
        )
        text = shown(render.report(clean))
        assert "Rejected rows" not in text
        assert "Reasons" not in text
        assert "warning" not in text
        assert "0 rows/s" in text

    def test_a_dry_run_is_called_one(self) -> None:
        dry = msgspec.structs.replace(REPORT, state="dry_run", import_id=None, rejects=None)
        text = shown(render.report(dry))
        assert text.startswith("Dry run of leads.csv")
        assert "--undo" not in text

    def test_as_a_document(self) -> None:
        made = msgspec.json.decode(msgspec.json.encode(document(REPORT)))
        assert made["rows"] == 100_000
        assert made["rows_per_second"] == 200_000
        assert made["problems"][0] == {
            "line": 5,
            "column": "E-mail",
            "reason": "email.no_at",
            "value": "lee[bold]example",
            "message": "has no @",
        }

    def test_undo(self) -> None:
        text = shown(render.undone(UndoReport(import_id=7, deleted=1_000, restored=20, kept=3)))
        assert (
            text.strip() == "Import 7 taken back: 1,000 leads deleted, 20 restored, 3 kept because they changed since"
        )

    def test_preview(self) -> None:
        made = ImportPreview(
            source="leads.csv",
            encoding="cp1252",
            delimiter="\t",
            quote='"',
            has_header=True,
            header=["E-mail", "Name"],
            mapping={"E-mail": "email", "Name": "first_name"},
            dates="iso",
            warnings=["a warning"],
            rows=[
                PreviewRow(2, "accepted", "ok", "", {"E-mail": "ana@example.com", "Name": "Ana"}),
                PreviewRow(3, "rejected", "email.no_at", "E-mail", {"E-mail": "lee"}),
            ],
        )
        text = shown(render.preview(made))
        assert "cp1252, tab between fields" in text
        assert "first row is the header" in text
        assert "email.no_at" in text
        assert "a warning" in text

    def test_thousands_of_columns_do_not_fill_the_screen(self) -> None:
        names = [f"[bold]{number}" for number in range(4_000)]
        made = ImportPreview(
            source="wide.csv",
            encoding="utf-8",
            delimiter=",",
            quote="",
            has_header=True,
            header=names,
            mapping=dict.fromkeys(names, "attributes"),
            dates="iso",
            warnings=[],
            rows=[PreviewRow(2, "accepted", "ok", "", dict.fromkeys(names, "x" * 100))],
        )
        text = shown(render.preview(made), width=400)
        assert "and 3,960 more" in text
        assert "and 3,988 more columns" in text
        assert "[bold]0" in text
        assert len(text.splitlines()) < 60
        wide = msgspec.structs.replace(REPORT, mapping=made.mapping)
        assert "and 3,960 more columns" in shown(render.report(wide), width=10_000)


class TestProgress:
    def test_rate_and_time_left_belong_to_the_phase(self) -> None:
        rates = Rates()
        assert rates.add(event(seconds=2.0, rows_read=100, bytes_done=250_000)) == (50.0, 6.0)
        loading = {"rows_read": 400, "rows_total": 400, "bytes_done": 1_000_000}
        assert rates.add(event("load", seconds=8.0, **loading))[0] == 0
        assert rates.add(event("load", seconds=10.0, rows_loaded=100, **loading)) == (50.0, 6.0)

    def test_a_stream_has_no_end_in_sight(self) -> None:
        now = event(seconds=1.0, rows_read=10, bytes_done=5_000, bytes_total=None)
        rate, left = Rates().add(now)
        assert left is None
        assert line(now, rate, left) == "reading 5.0 kB, 10 rows, 10 rows/s"

    def test_a_line_says_phase_share_rows_rate_rejected_and_time_left(self) -> None:
        now = event(seconds=2.0, rows_read=100, bytes_done=250_000, rejected=3)
        text = line(now, *Rates().add(now))
        assert text == "reading 25.0 %, 100 rows, 50 rows/s, 3 rejected, about 6.0 s left"

    def test_lines_come_every_few_seconds_and_at_the_end(self) -> None:
        out = io.StringIO()
        with ProgressLines(Console(file=out, width=200)) as lines:
            for second in range(12):
                lines(event(seconds=float(second), bytes_done=second * 80_000, rows_read=second))
            lines(event(seconds=12.0, bytes_done=1_000_000, rows_read=12))
        assert [text.split(",")[0] for text in out.getvalue().splitlines()] == [
            "reading 40.0 %",
            "reading 80.0 %",
            "reading 100.0 %",
        ]

    def test_bars(self) -> None:
        out = io.StringIO()
        with ProgressBars(Console(file=out, width=160, force_terminal=True)) as bars:
            bars(event(seconds=1.0, bytes_done=500_000, rows_read=1_000, rejected=5))
            bars(event("load", seconds=2.0, bytes_done=1_000_000, rows_read=2_000, rows_loaded=500, rows_total=2_000))
            bars._bars.refresh()
        assert "1,000 rows" in out.getvalue() or "500 rows" in out.getvalue()
        assert "5 rejected" in out.getvalue()

    def test_an_empty_file_is_all_done(self) -> None:
        now = event("load", rows_total=0)
        assert "100.0 %" in line(now, *Rates().add(now))


class TestGrammar:
    def test_columns_divide_at_the_last_equals_sign(self) -> None:
        args = parser.build_parser().parse_args(
            ["import", "a.csv", "-w", "acme", "--column", "E-mail=email", "--column", "a=b=city", "--delimiter", "tab"]
        )
        options = parser.import_options(args)
        assert options["columns"] == {"E-mail": "email", "a=b": "city"}
        assert options["delimiter"] == "\t"
        assert options["has_header"] is None
        assert options["keep_undo"] is True

    def test_update_columns_and_tags(self) -> None:
        args = parser.build_parser().parse_args(
            [
                "import",
                "-",
                "-w",
                "x",
                "--on-existing",
                "update",
                "--update-columns",
                "city, phone",
                "--tag",
                "a,b",
                "--tag",
                "c",
            ]
        )
        options = parser.import_options(args)
        assert options["update_columns"] == ["city", "phone"]
        assert options["tags"] == ["a,b", "c"]

    @pytest.mark.parametrize(
        "argv",
        [
            ["import"],
            ["import", "a.csv"],
            ["import", "a.csv", "-w", "x", "--column", "email"],
            ["import", "a.csv", "-w", "x", "--on-existing", "maybe"],
            ["import", "a.csv", "-w", "x", "--preview", "--dry-run"],
            ["import", "--resume", "0"],
            ["import", "--undo", "seven"],
            ["leads"],
            ["leads", "count"],
            ["leads", "show", "-w", "x", "--limit", "-1"],
            ["validate-email"],
            ["impor", "a.csv"],
            [],
        ],
    )
    def test_a_wrong_call_ends_with_2_and_no_traceback(
        self, argv: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(argv) == Exit.USAGE
        said = "".join(capsys.readouterr())
        assert said
        assert "Traceback" not in said

    @pytest.mark.parametrize("argv", [["--help"], ["import", "--help"], ["validate-email", "--help"]])
    def test_help_states_the_exit_codes(self, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(argv) == Exit.DONE
        text = capsys.readouterr().out
        for code, meaning in MEANING.items():
            assert f"{code.value}" in text
            assert meaning in text

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == Exit.DONE
        assert capsys.readouterr().out.startswith("mailgenius ")

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (KeyboardInterrupt(), 130),
            (Terminated(), 143),
            (ConfigError("x"), 2),
            (SourceError("x"), 2),
            (NotFound("x"), 2),
            (ImportFailed("x"), 1),
            (OSError(28, "No space left on device"), 1),
        ],
    )
    def test_exit_code_of_an_error(self, error: BaseException, code: int) -> None:
        assert exit_for(error) == code

    def test_the_resume_command_can_be_pasted(self) -> None:
        args = parser.build_parser().parse_args(
            [
                "import",
                "my leads.csv",
                "-w",
                "acme",
                "--home",
                "/srv/mail genius",
                "--database-url",
                "postgresql://u:secret@h/d",
            ]
        )
        command = resume_command(args, 12)
        assert command.startswith("mailgenius import 'my leads.csv' --resume 12 --home '/srv/mail genius'")
        assert "secret" not in command
