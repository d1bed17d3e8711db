"""Names from outside become names that are safe, distinct, and the same each time."""

from __future__ import annotations

import unicodedata

import pytest

from remote_tasks_provider.core.files.names import local_names

NASTY = [
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "/etc/shadow",
    "C:\\Windows\\system.ini",
    "C:x",
    "",
    " ",
    ".",
    "..",
    "...",
    "/",
    "a/..",
    None,
    "con",
    "NUL.txt",
    "com1 .log",
    "a\0b",
    "\x1b[31mred",
    "report\u202efdp.exe",
    "\u200b\ufeff",
    "\ud800x",
    "line\nbreak\r.txt",
    "a. . .",
    " padded .txt ",
    ".bashrc",
    ".remote-tasks-0.json",
    "-rf",
    "~root",
    "what?.txt#top",
    '<a>:"b"|*',
    "x" * 500,
    "x" * 500 + ".pdf",
    "é" * 300 + ".tar.gz",
    "🙂" * 100,
    "a." + "b" * 300,
    "." * 300 + "a",
]


def _name(remote: str | None, content_type: str | None = None) -> str:
    return local_names([(remote, content_type)])[0]


def _names(*remote: str) -> list[str]:
    return local_names((name, None) for name in remote)


class TestSafety:
    @pytest.mark.parametrize("remote", NASTY, ids=ascii)
    def test_name_is_one_plain_component(self, remote: str | None) -> None:
        name = _name(remote)

        assert name
        assert 0 < len(name.encode()) <= 200
        assert not set(name) & set('/\\<>:"|?*#')
        assert all(unicodedata.category(char)[0] != "C" for char in name)
        assert name == name.strip()
        assert name[0] not in ".-~"
        assert name[-1] not in ". "
        assert name.partition(".")[0].strip().lower() not in ("con", "nul", "com1")

    @pytest.mark.parametrize("remote", NASTY, ids=ascii)
    def test_local_name_stays_unchanged(self, remote: str | None) -> None:
        name = _name(remote)

        assert _name(name) == name

    @pytest.mark.parametrize(
        ("remote", "local"),
        [
            ("report.pdf", "report.pdf"),
            ("Bericht Ü (final) [2].v1.docx", "Bericht Ü (final) [2].v1.docx"),
            ("数据.csv", "数据.csv"),
            ("100%.txt", "100%.txt"),
            ("__init__.py", "__init__.py"),
            ("../../etc/passwd", "passwd"),
            ("out/2026/report.pdf", "report.pdf"),
            ("folder/", "folder"),
            ("C:\\x\\y.doc", "y.doc"),
            ("C:x", "C_x"),
            ("con", "_con"),
            ("CON.tar.gz", "_CON.tar.gz"),
            ("LPT9 .txt", "_LPT9.txt"),
            ("console.txt", "console.txt"),
            ("report\u202efdp.exe", "reportfdp.exe"),
            ("a\0b.txt", "ab.txt"),
            ("a\n b\t.txt", "a b.txt"),
            ("name. . ", "name"),
            (".env", "_env"),
            ("--help", "_help"),
            ("a:b?.txt", "a_b_.txt"),
            ("e\u0301.txt", "é.txt"),
        ],
        ids=ascii,
    )
    def test_harmless_characters_are_kept(self, remote: str, local: str) -> None:
        assert _name(remote) == local


class TestNamelessFiles:
    @pytest.mark.parametrize("remote", [None, "", " ", ".", "..", "./", "\0", "???", "a/.."])
    def test_nameless_files_are_numbered_by_their_place(self, remote: str | None) -> None:
        assert local_names([("a", None), ("b", None), (remote, None)])[2] == "file-3.bin"

    @pytest.mark.parametrize(
        ("content_type", "extension"),
        [
            ("application/pdf", ".pdf"),
            ("Text/HTML; charset=utf-8", ".html"),
            ("image/png", ".png"),
            ("application/x-unheard-of", ".bin"),
            ("", ".bin"),
            (None, ".bin"),
        ],
    )
    def test_content_type_gives_the_extension(self, content_type: str | None, extension: str) -> None:
        assert _name("", content_type) == f"file-1{extension}"

    def test_named_file_keeps_its_own_extension_or_none(self) -> None:
        assert _name("notes", "application/pdf") == "notes"


class TestLength:
    def test_extension_survives_the_cut(self) -> None:
        assert _name("x" * 500 + ".pdf") == "x" * 196 + ".pdf"

    def test_double_extension_survives_whole(self) -> None:
        assert _name("x" * 500 + ".tar.gz") == "x" * 193 + ".tar.gz"

    def test_character_is_never_cut_apart(self) -> None:
        assert _name("é" * 300) == "é" * 100
        assert _name("a" + "é" * 300) == "a" + "é" * 99

    def test_sentence_after_the_last_dot_is_no_extension(self) -> None:
        name = _name("A title. " + "word " * 100)

        assert name.startswith("A title. word")
        assert len(name) <= 200

    def test_extension_follows_without_a_space(self) -> None:
        assert _name("x" * 195 + " " + "y" * 50 + ".pdf") == "x" * 195 + ".pdf"


class TestDistinctness:
    def test_second_file_of_a_name_gets_a_number(self) -> None:
        assert _names("a.txt", "a.txt", "a.txt") == ["a.txt", "a (2).txt", "a (3).txt"]

    def test_number_stands_before_a_double_extension(self) -> None:
        assert _names("a.tar.gz", "a.tar.gz") == ["a.tar.gz", "a (2).tar.gz"]

    @pytest.mark.parametrize(
        ("one", "other"),
        [("a.txt", "A.TXT"), ("é.txt", "e\u0301.txt"), ("straße", "STRASSE"), ("x/a.txt", "y\\a.txt")],
    )
    def test_similar_names_are_told_apart(self, one: str, other: str) -> None:
        assert " (2)" in _names(one, other)[1]

    def test_taken_number_is_passed_over(self) -> None:
        assert _names("a.txt", "a (2).txt", "a.txt") == ["a.txt", "a (2).txt", "a (3).txt"]

    def test_assigned_number_is_not_given_again(self) -> None:
        assert _names("a.txt", "a.txt", "a (2).txt") == ["a.txt", "a (2).txt", "a (2) (2).txt"]

    def test_long_equal_names_still_fit(self) -> None:
        one, other = _names("x" * 500 + ".pdf", "x" * 400 + ".pdf")

        assert (one, other) == ("x" * 196 + ".pdf", "x" * 192 + " (2).pdf")

    def test_nameless_file_does_not_take_the_name_of_another(self) -> None:
        assert _names("file-2.bin", "") == ["file-2.bin", "file-2 (2).bin"]

    def test_nasty_names_are_distinct_on_every_file_system(self) -> None:
        names = local_names((name, None) for name in NASTY * 3)

        folded = {unicodedata.normalize("NFKC", name).casefold() for name in names}
        assert len(folded) == len(NASTY) * 3
        assert all(len(name.encode()) <= 200 for name in names)


class TestStability:
    def test_list_gives_the_same_names_each_time(self) -> None:
        files = [(name, "image/png") for name in NASTY * 2]

        assert local_names(files) == local_names(files)

    def test_files_added_at_the_end_change_no_earlier_name(self) -> None:
        assert _names("a.txt", "a.txt", "", "a (2).txt", "a.txt")[:3] == _names("a.txt", "a.txt", "")
