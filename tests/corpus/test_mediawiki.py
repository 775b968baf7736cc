"""MediaWiki dumps: articles without their markup; a bad page costs itself."""

import bz2
from pathlib import Path

import pytest
from example_reading import read

from tilth.corpus.readers import first_record
from tilth.corpus.sources import Source, find_files

pytest.importorskip("mwparserfromhell", reason="the extra 'web' is not installed")

HEAD = b'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="en">\n  <siteinfo><x/></siteinfo>\n'
WIKITEXT = """{{Infobox soil|name=loam}}
'''Loam''' is a [[soil]] of [[sand|sand grains]], silt and clay.&lt;ref&gt;A book.&lt;/ref&gt;

== Use ==
It is [http://field.example tilled].
[[File:Loam.jpg|thumb|A field of [[loam]]]]
{| class="wikitable"
| cell
|}
[[Category:Soils]]
"""


def page(title: str, text: str, number: int = 1, namespace: str = "0", redirect: str = "") -> bytes:
    return (
        f"  <page>\n    <title>{title}</title>\n    <ns>{namespace}</ns>\n    <id>{number}</id>\n    {redirect}\n"
        f"    <revision>\n      <id>{number}00</id>\n      <timestamp>2020-01-0{number}T00:00:00Z</timestamp>\n"
        f'      <text bytes="1" xml:space="preserve">{text}</text>\n    </revision>\n  </page>\n'
    ).encode()


PAGES = [
    page("Loam", WIKITEXT, 1),
    page("Talk:Loam", "chat", 2, "1"),
    page("Earth", "#REDIRECT [[Loam]]", 3, redirect='<redirect title="Loam" />'),
    page("Broken", "a &unknown; b", 4),
    page("Worm", "A '''worm''' turns.", 5),
]
DUMP = HEAD + b"".join(PAGES) + b"</mediawiki>\n"


def test_articles_are_read_and_everything_else_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(DUMP)
    source = Source("x", ("a.xml",), id="id")
    found = read(source, tmp_path)
    loam, worm = found.documents
    assert loam["text"] == ("Loam is a soil of sand grains, silt and clay.\n\nUse\nIt is tilled.")
    assert (loam["date"], loam["metadata"]) == (
        "2020-01-01T00:00:00Z",
        '{"id":"1","revision":"100","title":"Loam"}',
    )
    assert worm["text"] == "A worm turns."
    assert [rule for rule, _ in found.losses] == ["no_document", "no_document", "unreadable"]
    assert "is not valid XML" in found.losses[2][1]
    (file,) = find_files(source, tmp_path)
    assert first_record(source, file)["title"] == "Loam"


def test_a_dump_cut_anywhere_into_parts_gives_the_same_articles(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(DUMP)
    source = Source("x", ("a.xml",))
    whole = read(source, tmp_path)
    for part_bytes in (1, 7, 100, 333, 1000):
        assert read(source, tmp_path, part_bytes) == whole


def test_a_packed_dump_is_read(tmp_path: Path) -> None:
    streams = [HEAD, *PAGES, b"</mediawiki>\n"]  # multistream, as Wikimedia packs them
    (tmp_path / "a.xml.bz2").write_bytes(b"".join(map(bz2.compress, streams)))
    assert len(read(Source("x", ("*",)), tmp_path).texts) == 2


def test_a_page_without_an_end_costs_itself(tmp_path: Path) -> None:
    cut = PAGES[0].replace(b"</page>", b"")
    (tmp_path / "a.xml").write_bytes(HEAD + cut + PAGES[4])
    found = read(Source("x", ("*",)), tmp_path)
    assert found.texts == ["A worm turns."]
    assert found.losses == [("unreadable", f"a.xml:{len(HEAD) + 8}: is a page that does not end")]


def test_what_is_no_dump_is_one_drop(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(b"<?xml version='1.0'?><rss></rss>")
    assert read(Source("x", ("*",)), tmp_path).losses == [("unreadable", "a.xml:0: is no MediaWiki dump")]
