"""Remote files, from real servers that the tests start: an HTTP server of Python's, and moto's server for S3."""

import functools
import gzip
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from example_chains import run
from example_reading import read

from tilth.corpus.engines import engine
from tilth.corpus.errors import UserError
from tilth.corpus.sources import Source, find_files, input_digests, open_unchanged

LINES = b"".join(json.dumps({"text": f"text {i}"}).encode() + b"\n" for i in range(300))
TEXTS = [f"text {i}" for i in range(300)]


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and honours single byte ranges, as real servers do; says nothing."""

    def send_head(self) -> Any:
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if not wanted or not path.is_file():
            return super().send_head()
        start, _, end = wanted.removeprefix("bytes=").partition("-")
        size = path.stat().st_size
        last = min(int(end) if end else size - 1, size - 1)
        handle = path.open("rb")
        handle.seek(int(start))
        self.left = last - int(start) + 1
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{last}/{size}")
        self.send_header("Content-Length", str(self.left))
        self.end_headers()
        return handle

    def copyfile(self, source: Any, outputfile: Any) -> None:
        left = getattr(self, "left", None)
        outputfile.write(source.read() if left is None else source.read(left))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    pytest.importorskip("aiohttp", reason="the extra 'remote' is not installed")
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Ranges, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def write_all(folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(LINES)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(LINES, mtime=0))
    pq.write_table(pa.table({"text": TEXTS}), folder / "c.parquet", row_group_size=100)
    with pa.ipc.new_file(str(folder / "d.arrow"), pa.schema([("text", pa.string())])) as writer:
        writer.write_table(pa.table({"text": TEXTS}), max_chunksize=100)


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl.gz", "c.parquet", "d.arrow"])
def test_http_files_are_read_like_local_ones(served: tuple[Path, str], tmp_path: Path, name: str) -> None:
    folder, url = served
    write_all(folder)
    for part_bytes in (1000, 1 << 30):
        local = read(Source("x", (str(folder / name),)), tmp_path, part_bytes)
        assert read(Source("x", (f"{url}/{name}",)), tmp_path, part_bytes) == local
        assert local.texts == TEXTS


def test_an_http_run_is_the_same_with_more_workers(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    write_all(folder)
    digests = set()
    for workers in (1, 2):
        (stored,) = run(
            tmp_path / str(workers), tmp_path, [Source("x", (f"{url}/a.jsonl",))], [], engine("local", workers), 1500
        )
        digests.add(stored.manifest.account.set_digest)
    assert len(digests) == 1


def test_what_is_not_there_is_one_line(served: tuple[Path, str], tmp_path: Path) -> None:
    _, url = served
    for pattern in (f"{url}/none.jsonl", "http://127.0.0.1:9/a.jsonl", "ftp://127.0.0.1:9/a.jsonl"):
        with pytest.raises(UserError, match=r"nothing matches|cannot be opened") as caught:
            find_files(Source("x", (pattern,)), tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("url", "package"), [("gs://b/a.jsonl", "gcsfs"), ("abfs://b/a.jsonl", "adlfs")])
def test_a_driver_that_is_not_there_is_named(tmp_path: Path, url: str, package: str) -> None:
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(UserError, match=rf"needs a driver; .*nstall .*{package}"):
        find_files(Source("x", (url,)), tmp_path)


def test_a_remote_file_that_changed_stops_the_run(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    write_all(folder)
    (file,) = find_files(Source("x", (f"{url}/a.jsonl",)), tmp_path)
    (folder / "a.jsonl").write_bytes(LINES + b"\n")
    with pytest.raises(UserError, match="has changed since this run began"):
        open_unchanged(file)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("s3fs", reason="the extra 'remote' is not installed")
    server_module = pytest.importorskip("moto.server", reason="the extra 'dev' is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.mkdir("field")
    yield files
    files.rm("field", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_s3_globs_are_found_in_order_and_read(bucket: Any, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    write_all(tmp_path / "local")
    for name in ("a.jsonl", "b.jsonl.gz", "c.parquet", "d.arrow"):
        bucket.pipe(f"field/deep/{name}", (tmp_path / "local" / name).read_bytes())
    source = Source("x", ("s3://field/*/*",))
    files = find_files(source, tmp_path)
    assert [file.relative for file in files] == ["deep/a.jsonl", "deep/b.jsonl.gz", "deep/c.parquet", "deep/d.arrow"]
    assert all(file.version for file in files)
    assert read(source, tmp_path, 1000).texts == TEXTS * 4
    before = input_digests(files, tmp_path / "digests.json")
    bucket.pipe("field/deep/a.jsonl", LINES.replace(b"text 1", b"text 2"))
    after = input_digests(find_files(source, tmp_path), tmp_path / "digests.json")
    assert [name for name in before if before[name] != after[name]] == ["deep/a.jsonl"]
    with pytest.raises(UserError, match="has changed"):
        open_unchanged(files[0])


def test_s3_is_read_by_the_workers_of_a_run(bucket: Any, tmp_path: Path) -> None:
    bucket.pipe("field/a.jsonl", LINES)
    recipe = {"name": "s3", "part_size": 1500, "sources": [{"name": "x", "path": "s3://field/a.jsonl"}]}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    # a process of its own: worker processes keep the environment of whoever started the first of them
    command = [sys.executable, "-m", "tilth.cli", "run", "recipe.yaml", "--until", "read", "--workers", "2", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stages"][0]["documents_out"] == 300


def test_a_bucket_that_there_is_not_is_one_line(bucket: Any, tmp_path: Path) -> None:
    for pattern in ("s3://nowhere/a.jsonl", "s3://field/*.jsonl"):
        with pytest.raises(UserError, match=r"nothing matches|cannot be opened"):
            find_files(Source("x", (pattern,)), tmp_path)
