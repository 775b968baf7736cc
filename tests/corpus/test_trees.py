"""Plain text, Markdown and HTML: a file is a document, or holds several with something between them."""

from pathlib import Path

import pytest
from example_reading import read
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tilth.corpus.document import document_id
from tilth.corpus.readers.trees import front_matter
from tilth.corpus.sources import Source, find_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trees")


def test_a_text_file_is_a_document(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/a.txt").write_bytes(b"\xef\xbb\xbfone\ntwo\n")
    (tmp_path / "b.txt").write_bytes(b"")
    (tmp_path / "c.txt").write_bytes(b"a\xff")
    (tmp_path / "d.txt").write_bytes(b"x" * 50)
    found = read(Source("x", ("**/*.txt",), maximum_bytes=20), tmp_path)
    assert [(d["text"], d["metadata"]) for d in found.documents] == [
        ("", '{"path":"b.txt"}'),
        ("one\ntwo\n", '{"path":"deep/er/a.txt"}'),
    ]
    assert found.documents[1]["id"] == document_id("x", "deep/er/a.txt#0")
    assert found.losses == [
        ("unreadable", "c.txt:0: is not utf-8 (byte 1)"),
        ("too_large", "d.txt:0: is 50 bytes long, at most 20 are read"),
    ]


def test_front_matter_becomes_fields(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\ntitle: Soil\ndate: 2020-01-02\ntags: [a, b]\n---\n# Soil\n\nIt lives.\n")
    (document,) = read(Source("x", ("*.md",), date="date"), tmp_path).documents
    assert document["date"] == "2020-01-02"
    assert document["text"] == "# Soil\n\nIt lives.\n"
    assert document["metadata"] == '{"path":"a.md","tags":["a","b"],"title":"Soil"}'


@pytest.mark.parametrize(
    "text",
    [
        "---\nno end\n",
        "---\n- a list\n---\ntext",
        "---\na: b\n---text",
        "---\na: [\n---\ntext",
        "---\na: &x [1, 2]\nb: [*x, *x]\n---\ntext",
        "--- \na: b\n---\n",
        "---\n" + "[" * 5000 + "\n---\ntext",
        "---\n1: a\n---\ntext",
        "",
    ],
)
def test_what_only_looks_like_front_matter_is_text(text: str) -> None:
    assert front_matter(text) == ({}, text)


def test_html_gives_its_main_text_and_title(tmp_path: Path) -> None:
    pytest.importorskip("resiliparse", reason="the extra 'web' is not installed")
    prose = "<p>" + "The loam is deep and the rain is slow. " * 20 + "</p>"
    (tmp_path / "a.html").write_text(
        f"<title> A \n field </title><nav>Menu</nav><main>{prose}</main><footer>c</footer>"
    )
    (tmp_path / "b.html").write_text("<title>none</title><script>x</script>")
    (tmp_path / "c.html").write_bytes(
        b'<meta charset="windows-1252"><main><p>Gr\xfc\xdfe ' + b"und viel mehr Text. " * 20 + b"</main>"
    )
    found = read(Source("x", ("*.html",)), tmp_path)
    assert found.texts[0].startswith("The loam is deep")
    assert "Menu" not in found.texts[0]
    assert '"title":"A field"' in found.documents[0]["metadata"]
    assert found.texts[1].startswith("Grüße und")
    assert found.losses == [("no_document", "b.html:0: has no text")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<div>" * 100_000, "nests 100000 elements"),
        ("<i><div><b><p>" * 50_000, "nests 150000 elements"),
        ("<br>" * 600_000, "has 600000 tags"),
    ],
)
def test_a_page_that_would_take_for_ever_is_not_parsed(tmp_path: Path, body: str, reason: str) -> None:
    (tmp_path / "a.html").write_text(body)
    ((rule, detail),) = read(Source("x", ("*.html",)), tmp_path).losses
    assert (rule, detail.startswith(f"a.html:0: {reason}")) == ("no_document", True)


def test_a_page_of_many_breaks_and_paragraphs_is_parsed(tmp_path: Path) -> None:
    pytest.importorskip("resiliparse", reason="the extra 'web' is not installed")
    (tmp_path / "a.html").write_text("<main>" + "<p>Rain fell on the field<br>all day.\n" * 5000)
    assert len(read(Source("x", ("*.html",)), tmp_path).texts) == 1


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(st.text(st.sampled_from("ab|\n"), max_size=12), max_size=10),
    mark=st.sampled_from(["\n", "\n\n", "<end>", "|", "a|"]),
    part_bytes=st.integers(1, 60),
    cap=st.integers(1, 40),
)
@example(parts=["a", "b"], mark="\n\n", part_bytes=3, cap=40)
@example(parts=["ab", "ba"], mark="<end>", part_bytes=4, cap=40)
def test_every_part_size_reads_the_same_documents(
    folder: Path, parts: list[str], mark: str, part_bytes: int, cap: int
) -> None:
    body = mark.join(parts)
    (folder / "a.txt").write_text(body)
    source = Source("x", ("a.txt",), separator=mark, maximum_bytes=cap)
    found = read(source, folder, part_bytes)
    pieces = body.split(mark)
    assert found.texts == [piece for piece in pieces if piece.strip() and len(piece) <= cap]
    assert [d["bytes"] for d in found.drops] == [len(piece) for piece in pieces if len(piece) > cap]
    whole = read(source, folder)
    assert [d["id"] for d in found.documents] == [d["id"] for d in whole.documents]


def test_a_separator_that_overlaps_itself_is_read_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for mark, splittable in (("\n", True), ("\n\n", False), ("<end>", True), ("aba", False)):
        (file,) = find_files(Source("x", ("a.txt",), separator=mark), tmp_path)
        assert file.splittable is splittable, mark
