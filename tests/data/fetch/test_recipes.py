"""Fetching: resumed, checked, explained; against a server in this process."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from layouts import unit_labels, write_pictures, write_shapes3d

from ffrl.core import download as downloading
from ffrl.core.download import download, sha256_of
from ffrl.core.errors import UserError
from ffrl.data.catalogue import DATA_SETS
from ffrl.data.digits import mnist
from ffrl.data.fetch import recipes as fetch
from ffrl.data.fetch.recipes import explain, verify
from ffrl.data.grids import falcor3d
from ffrl.data.grids.factors import Factors
from ffrl.data.shapes3d import file as shapes3d_file

OWN = ("poses", "sequences", "vectors")
"""Data sets that are a user's own."""
CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT in the way that the server's ``behaviour`` says, and remembers what was asked for."""

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        if server.behaviour == "404":
            return self.send_error(404)
        start = 0 if wanted is None or server.behaviour == "no ranges" else int(wanted[6:-1])
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        if server.behaviour not in ("no length", "endless"):
            self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = len(CONTENT)
        if server.behaviour == "endless":
            with suppress(OSError):
                while True:
                    self.wfile.write(CONTENT)
        if server.behaviour == "reset":
            self.wfile.write(CONTENT[start : start + 100_000])
            self.wfile.flush()
            time.sleep(0.05)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return self.connection.close()
        if server.behaviour == "trickle":
            with suppress(OSError):
                for place in range(start, end):
                    self.wfile.write(CONTENT[place : place + 1])
                    time.sleep(0.01)
        if server.behaviour == "cut" or (server.behaviour == "cut once" and len(server.asked) == 1):
            end = start + 100_000
        elif server.behaviour == "silent" and len(server.asked) > 1:
            end = start
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloading, "PAUSE", 0.01)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.behaviour, server.asked = "good", []
        server.url = f"http://127.0.0.1:{server.server_port}/3dshapes.h5"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("behaviour", ["good", "no length", "no ranges"])
def test_a_file_is_fetched_once(server, tmp_path, behaviour, capsys):
    server.behaviour = behaviour
    path = tmp_path / "new" / "3dshapes.h5"
    download(server.url, path, SHA256, len(CONTENT))
    assert path.read_bytes() == CONTENT and names(path.parent) == ["3dshapes.h5"] and server.asked == [None]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"fetching {server.url}") and "0.3" in lines[-1] and lines[-1].endswith("done")
    download(server.url, path, SHA256, len(CONTENT))
    assert server.asked == [None]


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT[:123_456])
    download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    assert server.asked == ["bytes=123456-"] and (tmp_path / "a").read_bytes() == CONTENT and names(tmp_path) == ["a"]


def test_a_server_without_ranges_sends_everything(server, tmp_path):
    server.behaviour = "no ranges"
    (tmp_path / "a.part").write_bytes(CONTENT[:123_456])
    download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    assert server.asked == ["bytes=123456-"] and (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize(("behaviour", "asked"), [("cut once", 2), ("cut", 3)])
def test_a_cut_connection_is_taken_up_again(server, tmp_path, behaviour, asked, capsys):
    server.behaviour = behaviour
    download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"][:asked]
    assert (tmp_path / "a").read_bytes() == CONTENT and names(tmp_path) == ["a"]
    assert "the connection was cut after 100,000 bytes; going on" in capsys.readouterr().err


def test_what_came_before_a_reset_is_kept(server, tmp_path):
    server.behaviour = "reset"
    with suppress(UserError):
        download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    begun = [int(asked[6:-1]) for asked in server.asked if asked]
    assert begun == sorted(begun) and begun and begun[0] > 0
    server.behaviour = "good"
    download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_that_never_ends_is_left(server, tmp_path):
    server.behaviour = "endless"
    with pytest.raises(UserError, match=f"^{server.url}: found more than 395,536 bytes, expected at most as many$"):
        download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    assert (tmp_path / "a.part").stat().st_size <= 395_536


def test_a_trickle_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "PATIENCE", 0.2)
    monkeypatch.setattr(downloading, "ATTEMPTS", 2)
    monkeypatch.setattr(downloading, "SLOWEST", 10**6)
    server.behaviour = "trickle"
    with pytest.raises(UserError, match=r"less than 1,000,000 bytes per second.*; \d+ bytes are in"):
        download(server.url, tmp_path / "a", SHA256, len(CONTENT))


def test_an_empty_file_is_fetched_again(server, tmp_path):
    (tmp_path / "a").touch()
    download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


def idx(rank, *sizes):
    return np.array([0x0800 + rank, *sizes], dtype=">u4").tobytes() + bytes(int(np.prod(sizes)))


def test_noise_is_no_mnist(tmp_path, monkeypatch):
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(3, 4, 28, 28))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(1, 4))
    with pytest.raises(UserError, match="train-images-idx3-ubyte: found other contents than those of MNIST"):
        verify("mnist", tmp_path)
    held = {name: hashlib.md5((tmp_path / name).read_bytes()).hexdigest() for name in mnist.CONTENTS}
    monkeypatch.setattr(mnist, "CONTENTS", held)
    assert verify("mnist", tmp_path).endswith("the published ones, undamaged")
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(UserError, match="found no t10k-labels-idx1-ubyte"):
        verify("mnist", tmp_path)


def test_a_part_is_kept_when_nothing_more_comes(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT[:50_000])
    server.asked.append("earlier")
    server.behaviour = "silent"
    with pytest.raises(UserError) as caught:
        download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    assert "(the connection was cut), expected a network; 50,000 bytes are in" in str(caught.value)
    assert len(server.asked) == 1 + downloading.ATTEMPTS
    assert names(tmp_path) == ["a.part"] and (tmp_path / "a.part").read_bytes() == CONTENT[:50_000]
    server.behaviour = "good"
    download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_whole_part_is_only_checked(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT)
    download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    assert server.asked == ["bytes=300000-"] and names(tmp_path) == ["a"]


def test_a_part_that_is_longer_than_the_file_is_dropped(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT + b"more")
    download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    assert server.asked == ["bytes=300004-", None] and (tmp_path / "a").read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_the_part_removed(server, tmp_path):
    (tmp_path / "a.part").write_bytes(b"x" * 1000)
    with pytest.raises(UserError) as caught:
        download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    found = hashlib.sha256(b"x" * 1000 + CONTENT[1000:]).hexdigest()
    message = f"{tmp_path}/a.part: found SHA-256 {found}, expected {SHA256}: what was fetched has been removed"
    assert str(caught.value).startswith(message) and names(tmp_path) == []


def test_a_wrong_file_in_place_is_left_alone(server, tmp_path):
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(UserError, match=f"^{tmp_path}/a: found SHA-256 .* remove it, or rename it, to fetch"):
        download(server.url, tmp_path / "a", SHA256, len(CONTENT))
    assert (tmp_path / "a").read_bytes() == b"mine" and server.asked == []


def test_no_such_file_and_no_network_are_one_line(server, tmp_path):
    server.behaviour = "404"
    with pytest.raises(UserError, match=f"^{server.url}: found HTTP 404 Not Found, expected the file$"):
        download(server.url, tmp_path / "new" / "a", SHA256, len(CONTENT))
    for url in ("http://127.0.0.1:9/a", "http://no-such-host.invalid/a"):
        with pytest.raises(UserError, match=f"^{url}: found no way to fetch it .*, expected a network$"):
            download(url, tmp_path / "new" / "a", SHA256, len(CONTENT))
    assert names(tmp_path) == []
    with pytest.raises(UserError, match="^cannot write /proc/new/a.part: "):
        server.behaviour = "good"
        download(server.url, tmp_path.joinpath("/proc/new/a"), SHA256, len(CONTENT))


def test_sha256_is_that_of_hashlib(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    assert sha256_of(tmp_path / "a") == SHA256
    with pytest.raises(UserError, match="^cannot read"):
        sha256_of(tmp_path / "b")


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_data_set_is_explained(name, tmp_path):
    text = explain(name)
    assert name in text and len(text.splitlines()) == (1 if name in OWN else text.count("\n") + 1)
    assert max(map(len, text.splitlines())) <= 200
    if name not in OWN:
        assert "--root DIR" in text and "stf train" in text
        placed = explain(name, tmp_path)
        assert f"--root {tmp_path}" in placed and "DIR" not in placed


def test_what_cannot_be_fetched_is_explained(tmp_path):
    for name, layout in (("falcor3d", "train-rec.labels"), ("isaac3d", "labels.npy"), ("sprites", "body")):
        text = fetch.fetch(name, tmp_path)
        assert layout in text and "github.com" in text and names(tmp_path) == []
    with pytest.raises(UserError, match="^--unpack: found 'isaac3d', expected shapes3d"):
        fetch.fetch("isaac3d", tmp_path, unpacked=True)
    with pytest.raises(UserError, match="^data.name: found 'cifar'"):
        fetch.fetch("cifar", tmp_path)


def test_mnist_is_fetched_as_before(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(mnist, "download", called.append)
    for name in ("mnist", "moving-mnist"):
        with pytest.raises(UserError, match="^data.root: found no train-images"):
            fetch.fetch(name, tmp_path)
    assert called == [tmp_path, tmp_path]


SIZES = (2, 2, 2, 3, 2, 2)


@pytest.fixture
def published(server, tmp_path_factory, monkeypatch):
    """A small 3dshapes.h5 in the place of the published one."""
    global CONTENT
    path = write_shapes3d(tmp_path_factory.mktemp("there"), SIZES)
    before, CONTENT = CONTENT, path.read_bytes()
    factors = Factors(shapes3d_file.FACTORS.names, SIZES)
    for function in (shapes3d_file.unpack, shapes3d_file.open_shapes3d):
        monkeypatch.setattr(function, "__defaults__", (factors,))
    monkeypatch.setattr(shapes3d_file, "FACTORS", factors)
    monkeypatch.setattr(fetch, "SHAPES3D_URL", server.url)
    monkeypatch.setattr(fetch, "SHAPES3D_SHA256", hashlib.sha256(CONTENT).hexdigest())
    yield path
    CONTENT = before


def test_shapes3d_is_fetched_unpacked_and_verified(published, tmp_path, server):
    text = fetch.fetch("shapes3d", tmp_path / "a")
    assert text == f"{tmp_path}/a/3dshapes.h5: there, and its checksum is right"
    assert "96 images, labels in order, not unpacked" in verify("shapes3d", tmp_path / "a")
    assert "3dshapes-images.npy: there" in fetch.fetch("shapes3d", tmp_path / "a", unpacked=True)
    assert names(tmp_path / "a") == ["3dshapes-images.npy", "3dshapes.h5"] and server.asked == [None]
    assert verify("shapes3d", tmp_path / "a" / "3dshapes.h5").endswith("96 images, labels in order, unpacked")
    with (tmp_path / "a" / "3dshapes.h5").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="3dshapes.h5: found SHA-256 .*: not the published file"):
        verify("shapes3d", tmp_path / "a")
    with pytest.raises(UserError, match="^--root: found .*, expected the folder to put 3dshapes.h5 into"):
        fetch.fetch("shapes3d", tmp_path / "b.h5")
    with pytest.raises(UserError, match="^--root: found .*, expected 3dshapes.h5 or its folder"):
        verify("shapes3d", tmp_path / "b")


def test_the_published_checksum_and_address():
    assert fetch.SHAPES3D_SHA256 == "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"
    assert fetch.SHAPES3D_URL == "https://storage.googleapis.com/3d-shapes/3dshapes.h5"


def test_every_picture_is_verified(tmp_path, monkeypatch):
    sizes = (3, 2, 2, 2, 2, 2, 2)
    folder = write_pictures(tmp_path / "root", sizes, "train-rec.labels", unit_labels(sizes))
    monkeypatch.setattr(falcor3d, "FACTORS", Factors(falcor3d.FACTORS.names, sizes))
    assert verify("falcor3d", folder) == f"{folder}: 192 pictures of 128 x 128 pixels, all undamaged, labels in order"
    last = folder / "images" / "000191.png"
    content = last.read_bytes()
    last.write_bytes(content[:-100])
    with pytest.raises(UserError, match=f"^{last}: found a damaged file"):
        verify("falcor3d", folder)
    last.unlink()
    with pytest.raises(UserError, match=f"found no {last}, and 0 more missing"):
        verify("falcor3d", folder)


def test_what_has_no_files_is_not_verified(tmp_path):
    with pytest.raises(UserError, match="^--verify: found 'sequences', expected one of mnist, moving-mnist, shapes3d"):
        verify("sequences", tmp_path)
