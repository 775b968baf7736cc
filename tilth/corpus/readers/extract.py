"""The text of a page or an article, and the program that extracts it where it can be stopped.

Run as a file of its own, this answers requests on its standard input, one after the other. Nothing of ours is imported
here, so that it starts in a twentieth of a second. A request over its processor time ends the process: the libraries
are C, and only the kernel can stop them.
"""

import ctypes
import os
import signal
import struct
import sys
from typing import Any, BinaryIO

REQUEST = struct.Struct("<cdII")  # kind, seconds of processor time, bytes of the charset, bytes of the data
ANSWER = struct.Struct("<?II")  # whether it is an answer and no complaint, bytes of the title, bytes of the text
PAGE, ARTICLE = b"p", b"a"

# Links that are no part of a sentence, in English wikis and (by their canonical names) in all others.
APART = ("file:", "image:", "media:", "category:")
# Elements whose content is no running text.
NO_PROSE = ("ref", "references", "gallery", "table", "timeline", "imagemap", "math", "score", "syntaxhighlight")
PR_SET_PDEATHSIG = 1  # prctl(2): be ended with the parent


def page_text(data: bytes, charset: str) -> tuple[str, str]:
    """Return title and main text of a page; ``charset`` is what the server said, "" where it said nothing.

    Without it the page's own declaration counts, then statistics.
    """
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding
    from resiliparse.parse.html import HTMLTree

    encoding = charset if charset and known(charset) else detect_encoding(data, from_html_meta=True)
    decoded = bytes_to_str(data, encoding if encoding and known(encoding) else "utf-8", "replace")
    tree = HTMLTree.parse(decoded)
    return " ".join((tree.title or "").split()), extract_plain_text(tree, main_content=True).strip()


def article_text(wikitext: str) -> str:
    """Return wikitext's sentences: no templates, tables, references, files or categories; links as their words."""
    import mwparserfromhell

    code = mwparserfromhell.parse(wikitext)
    for link in code.filter_wikilinks(recursive=False):
        if str(link.title).strip().lower().startswith(APART):
            code.remove(link, recursive=False)
    for tag in code.filter_tags(recursive=False):
        if str(tag.tag).strip().lower() in NO_PROSE:
            code.remove(tag, recursive=False)
    lines = [line.strip() for line in str(code.strip_code()).split("\n")]
    kept = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]
    return "\n".join(kept).strip()


def known(encoding: str) -> bool:
    """Tell whether Python can decode an encoding of that name."""
    try:
        b"".decode(encoding)
    except (LookupError, ValueError):
        return False
    return True


def extracted(kind: bytes, charset: str, data: bytes) -> tuple[str, str]:
    """Return title and text of what ``data`` is, a page or an article in UTF-8."""
    return page_text(data, charset) if kind == PAGE else ("", article_text(data.decode()))


def answer(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while head := requests.read(REQUEST.size):
        kind, seconds, charset_bytes, size = REQUEST.unpack(head)
        charset = requests.read(charset_bytes).decode()
        data = requests.read(size)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends a process that does not handle it
        try:
            title, text = extracted(kind, charset, data)
            good = True
        except Exception as error:  # the record is at fault, and the next one wants an answer too
            good, title, text = False, "", f"{type(error).__name__}: {error}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        encoded = title.encode("utf-8", "replace"), text.encode("utf-8", "replace")
        answers.write(ANSWER.pack(good, *map(len, encoded)))
        for part in encoded:
            answers.write(part)
        answers.flush()


def end_with_parent(parent: int) -> None:
    """Ask the kernel, where it is Linux, to end this process when ``parent`` ends; elsewhere its time limit does."""
    prctl: Any = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before it could be asked
            sys.exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks decides when to end
    end_with_parent(int(sys.argv[1]))
    try:
        answer(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        os._exit(0)  # nobody listens any more
