"""The maker of the environment: what it reads from a package index, what it refuses, and when it has nothing to do."""

from __future__ import annotations

import hashlib
import http.server
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from tools import environment
from tools.environment import EnvironmentProblem, Stamps, check_python, gist, is_landmark, newest_pip, pip_setting

A, B, C = (digit * 64 for digit in "abc")


@pytest.mark.parametrize(("version", "fits"), [((3, 9), False), ((3, 10), True), ((3, 12), True), ((3, 13), False)])
def test_python_versions(version, fits):
    if fits:
        check_python(version)
    else:
        with pytest.raises(EnvironmentProblem, match=r"3\.10, 3\.11 or 3\.12 is needed.*PYTHON="):
            check_python(version)


def link(name: str, sha256: str, more: str = "") -> str:
    return f'<a href="../../files/{name}#sha256={sha256}" {more}>{name}</a>'


def test_newest_pip_skips_what_does_not_fit():
    page = "\n".join(
        [
            link("pip-9.0-py3-none-any.whl", A),
            link("pip-24.10-py3-none-any.whl", B, 'data-requires-python="&gt;=3.8"'),
            link("pip-24.9-py3-none-any.whl", C, 'data-requires-python="&gt;=3.8"'),
            link("pip-25.0-py3-none-any.whl", C, 'data-yanked=""'),
            link("pip-25.1b1-py3-none-any.whl", C),
            link("pip-25.2.tar.gz", C),
            link("pip-26.0-py3-none-any.whl", C, 'data-requires-python="&gt;=3.12"'),
            '<a href="../../files/pip-27.0-py3-none-any.whl">no hash</a>',
        ]
    )
    assert newest_pip(page, 11) == ("../../files/pip-24.10-py3-none-any.whl", B)
    assert newest_pip(page, 12) == ("../../files/pip-26.0-py3-none-any.whl", C)


def test_an_index_without_hashes_is_refused():
    with pytest.raises(EnvironmentProblem, match="SHA-256.*apt install python3-venv"):
        newest_pip('<a href="pip-24.0-py3-none-any.whl">pip</a>', 11)


def test_pip_settings_come_from_the_variable_then_the_file(monkeypatch, tmp_path):
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = http://one/simple\ncert = /some.crt\n[install]\nindex-url = http://two/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_CERT", raising=False)
    assert pip_setting("index-url") == "http://two/simple"
    assert pip_setting("cert") == "/some.crt"
    monkeypatch.setenv("PIP_INDEX_URL", "http://three/simple")
    assert pip_setting("index-url") == "http://three/simple"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index on loopback that serves a pip of one line, which notes what it was asked."""
    wheel = tmp_path / "index" / "files" / "pip-99.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pip/__main__.py", "import sys, pathlib; pathlib.Path(sys.argv[-1] + '.ran').write_text(sys.argv[1])")
    page = tmp_path / "index" / "simple" / "pip" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(link(wheel.name, hashlib.sha256(wheel.read_bytes()).hexdigest()))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "index"))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield page
    server.shutdown()
    server.server_close()


def test_fetched_pip_runs_from_its_wheel(index, tmp_path):
    environment.fetch_pip(Path(sys.executable), tmp_path)
    assert (tmp_path / "pip-99.0-py3-none-any.whl.ran").read_text() == "install"


def test_a_wheel_with_another_hash_is_never_run(index, tmp_path):
    index.write_text(link("pip-99.0-py3-none-any.whl", A))
    with pytest.raises(EnvironmentProblem, match="does not have the SHA-256"):
        environment.fetch_pip(Path(sys.executable), tmp_path)
    assert not list(tmp_path.glob("*.ran"))


def test_an_index_that_does_not_answer_names_the_remedy(index, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(EnvironmentProblem, match=r"cannot fetch http://127.0.0.1:1/simple/pip/: .*apt install python3-venv"):
        environment.fetch_pip(Path(sys.executable), tmp_path)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with an environment, in which pip only counts its calls."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text("one\n")
    calls: list[list[str]] = []
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "why_rebuild", lambda *_: None)
    monkeypatch.setattr(environment, "install", lambda _python, files, _stamps: calls.append([file.name for file in files]))
    return tmp_path, calls


def test_installs_once_and_again_when_the_requirements_change(project):
    folder, calls = project
    environment.main([])
    environment.main([])
    assert calls == [["requirements.txt"]]
    both = ["requirements.txt", "requirements-dev.txt"]
    environment.main(["requirements-dev.txt"])
    environment.main(["requirements-dev.txt"])
    environment.main([])
    assert calls[1:] == [both]
    (folder / "requirements.txt").write_text("two\n")
    environment.main(["requirements-dev.txt"])
    assert calls[2:] == [both]


def pip_that(folder: Path, script: str) -> Path:
    """An interpreter whose pip is a shell script."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return python


def test_pip_failing_before_it_unpacks_leaves_the_environment_alone(tmp_path):
    stamps = Stamps(tmp_path)
    stamps.folder.mkdir()
    python = pip_that(tmp_path, "echo Collecting a-thing; echo ERROR: no such thing; exit 1")
    with pytest.raises(EnvironmentProblem, match="(?s)ERROR: no such thing.*status 1.*network"):
        environment.install(python, [tmp_path / "requirements.txt"], stamps)
    assert stamps.log.read_text() == "Collecting a-thing\nERROR: no such thing\n"
    assert not stamps.unpacking.exists()


def test_an_unpacking_that_fails_is_begun_again(tmp_path):
    stamps, files = Stamps(tmp_path), [tmp_path / "requirements.txt"]
    stamps.folder.mkdir()
    files[0].write_text("one\n")
    stamps.finish(files)
    assert stamps.stale(files) == []
    with pytest.raises(EnvironmentProblem, match="disk"):
        environment.install(pip_that(tmp_path, "echo Installing collected packages: a, b; exit 1"), files, stamps)
    assert stamps.stale(files) == files
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert environment.why_rebuild(tmp_path, stamps) == "the last install was interrupted"


def test_an_environment_made_by_something_else_is_never_removed(tmp_path):
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(EnvironmentProblem, match="made by something else"):
        environment.create(tmp_path, Stamps(tmp_path))
    assert (tmp_path / "precious").read_text() == "mine"


def test_why_an_environment_is_made_afresh(tmp_path):
    folder = tmp_path / ".venv"
    stamps = Stamps(folder)
    assert environment.why_rebuild(folder, stamps) == "there is none"
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 3.99\n")
    python.chmod(0o755)
    assert "has Python 3.99" in (environment.why_rebuild(folder, stamps) or "")
    python.write_text("#!/bin/sh\nexit 1\n")
    assert "does not start" in (environment.why_rebuild(folder, stamps) or "")
    python.write_text(f"#!/bin/sh\necho {sys.version_info[0]}.{sys.version_info[1]}\n")
    assert environment.why_rebuild(folder, stamps) is None


def test_what_is_shown_of_pip():
    assert gist("Collecting torch==2.13.0 (from -r requirements.txt (line 7))").startswith("Collecting torch")
    assert gist("Requirement already satisfied: six") == ""
    assert gist("Installing collected packages: a, b, c") == "Unpacking 3 packages"
    assert is_landmark("Downloading torch-2.13.0-cp311.whl (527.0 MB)")
    assert is_landmark("Downloading all.whl (1.2 GB)")
    assert not is_landmark("Downloading six-1.17.0.whl (11 kB)")
    assert not is_landmark("Downloading rich.whl (3.5 MB)")


def test_an_unknown_requirements_file_is_refused_before_anything_is_done(project):
    with pytest.raises(EnvironmentProblem, match=r"requirements-none\.txt is missing"):
        environment.main(["requirements-none.txt"])
    assert project[1] == []
