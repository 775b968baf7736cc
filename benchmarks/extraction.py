"""Extraction: which library finds a page's main text best, and how fast; then a WARC file beside datatrove's reader.

    python benchmarks/extraction.py [--quick] [--json]

The gold set is 32 pages of the archives in ../shared/data/peer_tests, annotated by hand: for every page (by the
beginning of its SHA-256) the elements that hold its main text, and those inside of them that are none (dates, tables of
contents, lists of related posts). No text of theirs is kept here. Quality is the F1 of words: of the multiset of words
of the gold text and that of what a library extracted, the mean over pages. Speed is MB of HTML a second of processor
time. A library that is not installed is left out (trafilatura and warcio: pip install trafilatura warcio).
"""

import argparse
import functools
import gzip
import hashlib
import io
import json
import re
import statistics
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import zstandard

from tilth.corpus.readers import read_part
from tilth.corpus.readers.chunk import Refused
from tilth.corpus.readers.extractor import CHILDREN
from tilth.corpus.readers.http import message
from tilth.corpus.readers.scanner import Scanner
from tilth.corpus.readers.warc import HTML, warc_header
from tilth.corpus.sources import Source, find_files
from tilth.corpus.splits import plan_parts

PEERS = Path(__file__).parents[2] / "shared/data/peer_tests/cc_whirlwind_dolma_warcio_data.tar.zst"
FLOOR = 2.0  # times datatrove's speed, on a WARC file
COPIES = 40  # of the two dolma archives: what is timed
WORD = re.compile(r"\w+")
Extract = Callable[[str], str]

# SHA-256 prefix of the page -> elements with its main text, elements of those that are none of it (CSS).
GOLD: dict[str, tuple[str, str]] = {
    "44cc04811a9e": (".mw-parser-output", ".mw-editsection, style, .navbox, .catlinks, .reference"),
    "536d8f22a1b4": ("main", "nav, form"),
    "62ecd1333121": ("#main_content", "form, nav"),
    "41348c932af7": ("#content", "nav"),
    "7b1a736a0655": ("#content", "nav"),
    "7989ce1fc989": ("#content", "nav"),
    "2e638fc003c5": (".post", "nav"),
    "f2597c6be98f": (".post", "nav"),
    "3bea9dcc146f": ("#post-container", "nav"),
    "a8e3f7e41bf3": (".content", "nav"),
    "7fdce5472a6f": (".content", "nav, .post-date"),
    "43bcd69d4b21": (".content", "nav, .post-date"),
    "e83f82a76c89": (".content", "nav, .post-date"),
    "8794dfc52bc4": (".content", "nav, .post-date"),
    "7822c928dedf": (".content", "nav, .post-date"),
    "e35d08fb3361": (".post", "nav"),
    "3384585c21ea": ("article", "nav"),
    "9030d51f1d7a": (".container-fluid", "nav"),
    "ee1138c0b33d": ("main", "nav"),
    "8e2cbdde8f9b": ("main", ".entry-footer, nav"),
    "8242b4419f3d": ("main", "nav"),
    "d439742c8cb2": ("main .content", "nav, aside"),
    "577540d32b12": ("main", ".tags, .related-posts, .authored-posts, nav, aside"),
    "68ce78203fe8": ("main", ".tags, .related-posts, .authored-posts, nav, aside"),
    "ffcf7d2dfd9b": ("main", "nav"),
    "0ea31e00613a": ("main", "nav, form, .cta__blade"),
    "ae4dbebf9c31": ("main", "nav"),
    "cc359b68fcbc": (".main", "nav"),
    "1195d0873571": (".uui-blogpost06_content", ".uui-blogpost06_author-wrapper, nav"),
    "dedb85272793": (".uui-blogpost06_content", ".uui-blogpost06_author-wrapper, nav"),
    "e3699669c704": (".main", "nav"),
    "aaf8c52338ba": ("#main", "nav"),
}


def archives() -> dict[str, bytes]:
    """Return the peers' archives by name."""
    with PEERS.open("rb") as packed:
        plain = zstandard.ZstdDecompressor().stream_reader(packed).read()
    with tarfile.open(fileobj=io.BytesIO(plain)) as opened:
        found = {m.name: opened.extractfile(m) for m in opened.getmembers() if ".warc" in m.name}
        return {name: stream.read() for name, stream in found.items() if stream is not None}


def pages(found: dict[str, bytes]) -> dict[str, tuple[str, bytes]]:
    """Return SHA-256 prefix -> (decoded page, its bytes) of every HTML answer."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    collected: dict[str, tuple[str, bytes]] = {}
    for name, data in found.items():
        if name.endswith(".gz"):
            try:
                data = gzip.decompress(data)
            except (OSError, EOFError):
                continue
        scanner = Scanner(iter([data]))
        while (header := warc_header(scanner)) is not None:
            body = scanner.ahead(header.size + header.length)[header.size :]
            scanner.forward(header.size + header.length)
            while scanner.ahead(1) in (b"\r", b"\n"):
                scanner.forward(1)
            if header.kind != "response":
                continue
            try:
                answer = message(body, 64 << 20)
            except Refused:
                continue
            if answer.mime in HTML:
                encoding = answer.charset or detect_encoding(answer.body, from_html_meta=True) or "utf-8"
                key = hashlib.sha256(answer.body).hexdigest()[:12]
                collected[key] = (bytes_to_str(answer.body, encoding, "replace"), answer.body)
    return collected


def gold(html: str, wanted: str, unwanted: str) -> str:
    """Return the text of the elements that were annotated."""
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(html)
    for element in tree.document.query_selector_all("script, style, noscript, template"):
        element.decompose()
    texts = []
    for element in tree.document.query_selector_all(wanted):
        for inner in element.query_selector_all(unwanted):
            inner.decompose()
        texts.append(spaced(element))
    return " ".join(texts)


def spaced(node: Any) -> str:
    """Return an element's text with a space between any two of its pieces."""
    from resiliparse.parse.html import NodeType

    return " ".join(one.value for one in node if one.type == NodeType.TEXT)


def f1(wanted: str, found: str) -> tuple[float, float, float]:
    """Return precision, recall and F1 of words, as multisets."""
    one, two = Counter(WORD.findall(wanted.lower())), Counter(WORD.findall(found.lower()))
    common = sum((one & two).values())
    if not common:
        return 0.0, 0.0, 0.0
    precision, recall = common / sum(two.values()), common / sum(one.values())
    return precision, recall, 2 * precision * recall / (precision + recall)


def candidates() -> dict[str, Extract]:
    """Return the ways to extract that are installed."""
    from resiliparse.extract.html2text import extract_plain_text

    found: dict[str, Extract] = {
        "resiliparse, main content": lambda html: extract_plain_text(html, main_content=True),
        "resiliparse, all text": lambda html: extract_plain_text(html),
    }
    if find_spec("trafilatura"):
        import trafilatura

        for name, options in {
            "trafilatura": {},
            "trafilatura, fast": {"fast": True},
            "trafilatura, precision": {"favor_precision": True},  # datatrove's default
            "trafilatura, recall": {"favor_recall": True},
        }.items():
            run = functools.partial(trafilatura.extract, include_comments=False, **options)
            found[name] = lambda html, run=run: run(html) or ""  # type: ignore[misc]
    return found


def quality(collected: dict[str, tuple[str, bytes]], passes: int) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and speed of every candidate over the gold set."""
    annotated = {key: (collected[key][0], gold(collected[key][0], *GOLD[key])) for key in GOLD if key in collected}
    size = sum(len(html.encode()) for html, _ in annotated.values())
    figures = {}
    for name, extract in candidates().items():
        scores = [f1(wanted, extract(html)) for html, wanted in annotated.values()]
        seconds = []
        for _ in range(passes):
            start = time.process_time()
            for html, _ in annotated.values():
                extract(html)
            seconds.append(time.process_time() - start)
        precision, recall, mean = (statistics.fmean(one) for one in zip(*scores, strict=True))
        figures[name] = {
            "pages": len(scores),
            "precision": round(precision, 3),
            "recall": round(recall, 3),
            "f1": round(mean, 3),
            "median_f1": round(statistics.median(score[2] for score in scores), 3),
            "mb_per_second": round(size / min(seconds) / 1e6, 1),
        }
    return figures


def reading(found: dict[str, bytes], copies: int, passes: int) -> dict[str, Any]:
    """Time the two dolma archives, ``copies`` times over in one file, with ours and datatrove's reader."""
    data = b"".join(found[name] for name in sorted(found) if "sample-000" in name)
    with tempfile.TemporaryDirectory(prefix="tilth-benchmark-") as name:
        path = Path(name) / "a.warc.gz"
        path.write_bytes(data * copies)
        plain = len(gzip.decompress(data)) * copies
        ours = best(functools.partial(read_ours, path.parent), passes)
        result: dict[str, Any] = {
            "mb": round(plain / 1e6, 1),
            "ours": round(plain / ours[0] / 1e6, 1),
            "pages": ours[1],
        }
        try:
            theirs = best(functools.partial(read_datatrove, path.parent), 1)
        except ImportError as error:
            return {**result, "datatrove": None, "why": str(error), "ok": True}
        times = theirs[0] / ours[0]
        return {
            **result,
            "datatrove": round(plain / theirs[0] / 1e6, 1),
            "datatrove_pages": theirs[1],
            "times": round(times, 1),
            "ok": times >= FLOOR,
        }


def best(read: Callable[[], int], passes: int) -> tuple[float, int]:
    """Return the least processor time, children's too, of ``passes``, and what was counted."""
    import resource

    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    times, count = [], 0
    for _ in range(passes):
        start = spent()
        count = read()
        times.append(spent() - start)
    return min(times), count


def read_ours(folder: Path) -> int:
    source = Source("web", ("*.warc.gz",))
    parts = plan_parts(find_files(source, folder), 1 << 40)
    count = sum(chunk.documents.num_rows for part in parts for chunk in read_part({"web": source}, part))
    if CHILDREN.one is not None:
        CHILDREN.one.ended()  # so that its time is counted
        CHILDREN.one = None
    return count


def read_datatrove(folder: Path) -> int:
    """datatrove's reader and its default extractor, which must not leave out the copies of a page that it saw before.

    The process around the extractor, which enforces its timeout, is left out: it only adds to the time.
    """
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.readers import WarcReader
    from loguru import logger

    logger.remove()
    extractor = Trafilatura(deduplicate=False)
    count = 0
    for document in WarcReader(str(folder), glob_pattern="*.warc.gz").run():
        count += bool(extractor.extract(document.text))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one pass, fewer copies: under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    if not PEERS.is_file():
        sys.exit(f"{PEERS} is not here; this benchmark needs the peers' archives beside the repository")
    found = archives()
    collected = pages(found)
    figures = quality(collected, 1 if options.quick else 5)
    print(f"{len(collected)} pages, {next(iter(figures.values()))['pages']} of them annotated")
    print(f"{'':28}{'precision':>10}{'recall':>8}{'F1':>8}{'median':>8}{'MB/s':>8}")
    for name, one in figures.items():
        cells = "".join(f"{one[key]:>8}" for key in ("recall", "f1", "median_f1", "mb_per_second"))
        print(f"{name:28}{one['precision']:>10}{cells}")
    warc = reading(found, 4 if options.quick else COPIES, 1 if options.quick else 3)
    print(f"\nWARC with extraction, {warc['mb']} MB: ours {warc['ours']} MB/s, {warc['pages']} documents; ", end="")
    if warc["datatrove"] is None:
        print(f"datatrove not timed: {warc['why']}")
    else:
        print(f"datatrove {warc['datatrove']} MB/s, {warc['datatrove_pages']} documents; {warc['times']} times as fast")
    if options.json:
        print(json.dumps({"benchmark": "extraction", "quality": figures, "warc": warc, "ok": warc["ok"]}))
    sys.exit(0 if warc["ok"] else 1)


if __name__ == "__main__":
    main()
