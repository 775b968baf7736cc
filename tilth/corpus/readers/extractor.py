"""Extraction within a limit of processor time: in this process where it cannot take long, else where it can be ended.

Some pages take minutes whatever is counted in them first: in resiliparse 2.0.1 one tag with 30,000 attributes takes
1.6 s, four times as many take sixteen times as long, and so do the options of one list; of wikitext 16 KB of ``{{a|b=``
take 5 s. So what is larger than the sizes below goes to a child of this thread, which stays for the next and costs
0.1 ms a page. At these sizes none of our worst pages took more than 0.15 s. A child that crashes costs one record, too.
"""

import os
import signal
import subprocess
import sys
import threading
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tilth.corpus.errors import UserError
from tilth.corpus.readers import extract
from tilth.corpus.readers.chunk import EXTRACTION_TIME, UNREADABLE, Refused
from tilth.corpus.readers.extract import ANSWER, ARTICLE, PAGE, REQUEST

LIBRARY = {PAGE: ("resiliparse", "HTML"), ARTICLE: ("mwparserfromhell", "MediaWiki dumps")}
IN_PROCESS = {PAGE: 64 << 10, ARTICLE: 1 << 10}  # bytes


class Child:
    """A process that extracts for the thread of the process that started it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        # -P: the folder of the file is no place to import from, it holds an html.py
        command = [sys.executable, "-P", str(Path(extract.__file__)), str(self.owner)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, kind: bytes, charset: str, data: bytes, seconds: float) -> tuple[bool, str, str]:
        """Return whether there is an answer, title, and text or complaint. Raises ``BrokenPipeError`` if it died."""
        requests, answers = self.process.stdin, self.process.stdout
        if requests is None or answers is None:
            raise BrokenPipeError
        named = charset.encode()
        requests.write(REQUEST.pack(kind, seconds, len(named), len(data)))
        requests.write(named)
        requests.write(data)
        requests.flush()
        head = answers.read(ANSWER.size)
        if len(head) < ANSWER.size:
            raise BrokenPipeError
        good, title_bytes, text_bytes = ANSWER.unpack(head)
        title, text = answers.read(title_bytes), answers.read(text_bytes)
        if len(text) < text_bytes:
            raise BrokenPipeError
        return good, title.decode(), text.decode()

    def ended(self) -> int:
        """Close the pipes, wait for the end, and return the exit status, negative for a signal."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was not sent has nobody to go to
        return self.process.wait()


class Children(threading.local):
    """The child of each thread, as far as it has one."""

    one: Child | None = None


CHILDREN = Children()


def extracted(kind: bytes, data: bytes, charset: str, seconds: float) -> tuple[str, str]:
    """Return title and text of a page or an article (UTF-8).

    Raises ``Refused`` where that takes more than ``seconds`` of processor time or the library fails, and ``UserError``
    where it is not installed.
    """
    require_library(kind)
    if len(data) <= IN_PROCESS[kind]:
        try:
            return extract.extracted(kind, charset, data)
        except Exception as error:  # as in the child: the record is at fault
            raise Refused(UNREADABLE, f"cannot be extracted ({type(error).__name__}: {error})") from error
    for _ in range(2):  # a child may have been ended by others, for want of memory
        child, CHILDREN.one = CHILDREN.one, None  # whoever is interrupted leaves no answer to another question behind
        if child is None or child.owner != os.getpid():  # after a fork the pipes are the parent's
            child = Child()
        try:
            good, title, text = child.ask(kind, charset, data, seconds)
        except BrokenPipeError:
            status = child.ended()
            if status == -signal.SIGPROF:
                raise Refused(EXTRACTION_TIME, f"takes more than {seconds:g} s to extract", limit=seconds) from None
            continue
        CHILDREN.one = child
        if not good:
            raise Refused(UNREADABLE, f"cannot be extracted ({text})")
        return title, text
    raise Refused(UNREADABLE, f"ends its extractor (status {status})")


@cache
def require_library(kind: bytes) -> None:
    """Raise ``UserError`` where the library for ``kind`` is not installed."""
    library, what = LIBRARY[kind]
    if find_spec(library) is None:
        raise UserError(f"{what} needs the library {library}; install it with: pip install 'tilth[web]'")
