"""Progress of long commands, on a terminal and in a file."""

from __future__ import annotations

from diff3m.cli import terminal


def run_of(label: str) -> None:
    report = terminal.make_progress_bar(label)
    for done in (1, 2, 3):
        report(done, 3)


def test_what_ends_soon_writes_nothing_into_a_file(capsys):
    run_of("films")
    assert capsys.readouterr().err == ""


def test_what_lasts_writes_how_far_it_is_into_a_file(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "LOG_SECONDS", 0.0)
    run_of("films")
    assert "films:" in (progress := capsys.readouterr().err) and "2/3" in progress


def test_a_terminal_shows_a_bar_at_once(capsys, monkeypatch):
    monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True)
    run_of("films")
    assert "films:" in capsys.readouterr().err
