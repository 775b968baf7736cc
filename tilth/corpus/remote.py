"""Files that are not on this machine: any URL that fsspec opens (s3, gs, hf, http), read where they lie.

A file is read in blocks of 8 MiB ahead. What its server gives as its version (an ETag, a hash, a time) stands for its
content in fingerprints, because hashing a remote terabyte means transferring it twice; a file without one is hashed.
Every failure of a network comes out as an ``OSError`` with a number, so that it stops a run and is never taken for
damage in the data.
"""

import errno
import glob
import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from tilth.corpus.errors import UserError

if TYPE_CHECKING:
    from tilth.corpus.sources import SourceFile

READ_AHEAD = 8 << 20  # bytes
VERSIONS = ("ETag", "etag", "sha256", "md5Hash", "blob_id", "Content-MD5", "LastModified", "last_modified", "mtime")

EXTRA = "'tilth[remote]'"
DRIVERS = {"s3": EXTRA, "s3a": EXTRA, "http": EXTRA, "https": EXTRA, "gs": "gcsfs", "gcs": "gcsfs"}


def is_remote(path: str) -> bool:
    """Tell whether a path is a URL."""
    return "://" in path


def remote_matches(source: str, pattern: str) -> list[tuple[str, str]]:
    """Return (URL, relative name) of every remote file that ``pattern`` names.

    As for absolute local patterns, names are seen from the pattern's last folder without a wildcard.
    """
    files, path = filesystem(source, pattern)
    try:
        if glob.has_magic(path) and not files.isfile(path):
            parts = PurePosixPath(path).parts
            wild = next(i for i, part in enumerate(parts) if glob.has_magic(part))
            root = PurePosixPath(*parts[:wild])
            found = [name for name in files.glob(path) if files.isfile(name)]
        else:
            root = PurePosixPath(path).parent
            found = [path] if files.exists(path) else []
    except Exception as error:  # what a driver raises is its own affair
        raise unreachable(source, pattern, error) from error
    if not found:
        raise UserError(f"source {source!r}: nothing matches {pattern!r}; look for its bucket, folder and spelling")
    return [(files.unstrip_protocol(name), PurePosixPath(name).relative_to(root).as_posix()) for name in found]


def remote_state(source: str, url: str) -> tuple[int, str]:
    """Return a remote file's size in bytes and its version, empty where the server names none."""
    files, path = filesystem(source, url)
    try:
        files.invalidate_cache()
        about = files.info(path)
    except Exception as error:
        raise unreachable(source, url, error) from error
    size = about.get("size")
    if size is None:
        raise UserError(f"source {source!r}: {url!r}: the server does not say how large it is; download it first")
    version = next((str(about[name]) for name in VERSIONS if about.get(name)), "")
    return int(size), version


def open_remote(file: "SourceFile") -> BinaryIO:
    """Open a remote file for reading bytes; raise ``UserError`` where it is gone or not the one that was found."""
    if remote_state(file.source, file.path) != (file.size, file.version):
        raise UserError(f"source {file.source!r}: {file.path!r} has changed since this run began; start the run again")
    files, path = filesystem(file.source, file.path)
    try:
        opened = files.open(path, "rb", block_size=READ_AHEAD, cache_type="readahead")
    except Exception as error:
        raise unreachable(file.source, file.path, error) from error
    return cast(BinaryIO, io.BufferedReader(Remote(opened), 1 << 20))


class Remote(io.RawIOBase):
    """A remote file whose every failure is an ``OSError`` with a number, whichever driver reads it."""

    def __init__(self, opened: Any) -> None:
        self.opened = opened

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as there are bytes."""
        try:
            data = self.opened.read(len(buffer))
        except Exception as error:
            raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte."""
        place: int = self.opened.seek(offset, whence)
        return place

    def tell(self) -> int:
        """Return the byte that is read next."""
        place: int = self.opened.tell()
        return place

    def close(self) -> None:
        """Close the driver's file too."""
        if not self.closed:
            self.opened.close()
        super().close()


def filesystem(source: str, url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path in it. Raises ``UserError`` where no driver is installed."""
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        protocol = url.split("://")[0]
        known = f"install it with: pip install {DRIVERS[protocol]}" if protocol in DRIVERS else str(error)
        raise UserError(f"source {source!r}: {url!r} needs a driver; {known}") from error
    except ValueError as error:
        raise UserError(f"source {source!r}: {url!r}: {error}; expected s3://, gs://, hf:// or http(s)://") from error
    except Exception as error:  # some drivers connect at once
        raise unreachable(source, url, error) from error
    return files, path


def unreachable(source: str, url: str, error: Exception) -> UserError:
    """Say that a remote file cannot be reached, in one line."""
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(
        f"source {source!r}: {url!r} cannot be opened: {said}; mend the address, the network or the rights"
    )
