"""A page that takes too long costs itself, and neither its reader nor its extractor stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from example_reading import read

from tilth.corpus.readers.chunk import EXTRACTION_TIME, Refused
from tilth.corpus.readers.extract import ARTICLE, PAGE
from tilth.corpus.readers.extractor import CHILDREN, extracted
from tilth.corpus.sources import Source

pytest.importorskip("resiliparse", reason="the extra 'web' is not installed")
pytest.importorskip("mwparserfromhell", reason="the extra 'web' is not installed")

SLOW = b"<p " + b" ".join(b"a%d=1" % number for number in range(60_000)) + b">rain</p>"  # 6 s
LARGE = b"<title>A field</title><main>" + b"<p>The loam is deep and the rain is slow.</p>" * 2000 + b"</main>"
READER = """
import sys
from tilth.corpus.readers.extract import PAGE
from tilth.corpus.readers.extractor import CHILDREN, extracted
extracted(PAGE, b"<p>rain</p>" * 10_000, "", 10)
print(CHILDREN.one.process.pid, flush=True)
extracted(PAGE, sys.stdin.buffer.read(), "", 300)
"""


def test_a_slow_page_is_a_drop_and_the_next_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(SLOW)
    (tmp_path / "b.html").write_bytes(LARGE)
    found = read(Source("x", ("*.html",), maximum_seconds=0.2), tmp_path)
    assert found.losses == [(EXTRACTION_TIME, "a.html:0: takes more than 0.2 s to extract")]
    assert [(drop["limit"], drop["bytes"]) for drop in found.drops] == [(0.2, len(SLOW))]
    assert found.texts[0].startswith("The loam")


def test_a_slow_article_is_a_drop_and_the_next_is_read(tmp_path: Path) -> None:
    pages = "".join(
        f"<page><ns>0</ns><id>1</id><revision><text>{text}</text></revision></page>"
        for text in ("{{a|b=" * 4000, "The loam is deep. " * 100)
    )
    (tmp_path / "a.xml").write_text(f"<mediawiki>{pages}</mediawiki>")
    found = read(Source("x", ("a.xml",), maximum_seconds=0.3), tmp_path)
    assert ([rule for rule, _ in found.losses], len(found.texts)) == ([EXTRACTION_TIME], 1)


@pytest.mark.parametrize("size", [1, 4000])
def test_a_page_is_the_same_wherever_it_is_extracted(size: int) -> None:
    page = "<meta charset=latin-1><title>Fält</title><main>" + "<p>Grüße aus dem Feld, viel mehr Text.</p>" * size
    assert (len(page) > 64 << 10) == (size > 1)
    title, text = extracted(PAGE, page.encode("latin-1"), "", 10)
    assert (title, text.split("\n")[0]) == ("Fält", "Grüße aus dem Feld, viel mehr Text.")
    assert extracted(PAGE, page.encode("cp500"), "cp500", 10) == (title, text)


def test_an_extractor_that_was_ended_is_replaced() -> None:
    first = extracted(PAGE, LARGE, "", 10)
    child = CHILDREN.one
    assert child is not None
    child.process.kill()
    assert extracted(PAGE, LARGE, "", 10) == first
    assert CHILDREN.one is not child


def test_who_is_interrupted_leaves_no_answer_behind() -> None:
    def interrupt(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(TimeoutError):
            extracted(PAGE, SLOW, "", 10)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert extracted(PAGE, LARGE, "", 10)[0] == "A field"


def test_a_complaint_of_the_library_costs_the_record_alone() -> None:
    with pytest.raises(Refused, match="cannot be extracted"):
        extracted(ARTICLE, b"\xff" * 2000, "", 10)
    assert extracted(ARTICLE, b"'''rain''' " * 200, "", 10)[1].startswith("rain rain")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked for in /proc")
def test_an_extractor_at_work_ends_with_its_reader() -> None:
    reader = subprocess.Popen([sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdin is not None
    assert reader.stdout is not None
    extractor = int(reader.stdout.readline())
    assert alive(extractor)
    with reader.stdin as pipe:
        pipe.write(SLOW)
    time.sleep(0.3)
    os.kill(reader.pid, signal.SIGKILL)
    reader.wait()
    reader.stdout.close()
    until = time.monotonic() + 5  # it would be at work for longer
    while alive(extractor) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(extractor)


def alive(process: int) -> bool:
    """Tell whether a process is there and no mere entry that its new parent has not read yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
