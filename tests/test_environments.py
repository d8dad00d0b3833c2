"""How a rendered project creates its environments with the settings and folders that people have.

The real pip and the real uv install from a mirror with two small packages, using the rendered
`.template/environments.mk`. They can reach nothing but the mirror.
"""

import base64
import importlib.util
import os
import shutil
import ssl
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from tests.certificates import Authority
from tests.support import ROOT, TEMPLATE, git

MADE = "build/tiny/.stamp"
INSTALLED = "import tiny; print(tiny.__file__)"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and remembers which programs requested them."""

    asked: ClassVar[set[str]]

    def log_message(self, *_said: object) -> None:
        self.asked.add(self.headers.get("User-Agent", "").partition("/")[0])


@dataclass(frozen=True)
class Mirror:
    """An index of packages on this machine.

    Attributes:
        url: Its address.
        folder: The files that it serves.
        asked: The programs that sent requests to it.
    """

    url: str
    folder: Path
    asked: set[str]

    def add(self, name: str, files: Mapping[str, str]) -> str:
        """Publish version 1.0 of a package, and return the line that pins it."""
        wheel = self.folder / f"files/{name}-1.0-py3-none-any.whl"
        wheel.parent.mkdir(exist_ok=True)
        info = f"{name}-1.0.dist-info"
        metadata = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        with zipfile.ZipFile(wheel, "w") as archive:
            record = []
            for path, text in {**files, **metadata}.items():
                entry = zipfile.ZipInfo(path)
                entry.external_attr = (stat.S_IFREG | 0o755) << 16
                archive.writestr(entry, text)
                digest = base64.urlsafe_b64encode(sha256(text.encode()).digest()).decode()
                record.append(f"{path},sha256={digest.rstrip('=')},{len(text.encode())}\n")
            archive.writestr(f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]))
        digest = sha256(wheel.read_bytes()).hexdigest()
        page = self.folder / f"simple/{name}/index.html"
        page.parent.mkdir(parents=True)
        page.write_text(f'<a href="../../files/{wheel.name}#sha256={digest}">{wheel.name}</a>')
        return f"{name}==1.0 --hash=sha256:{digest}\n"


@contextmanager
def mirror_of(folder: Path, context: ssl.SSLContext | None = None) -> Iterator[Mirror]:
    folder.mkdir()

    class Handler(Quiet):
        asked: ClassVar[set[str]] = set()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            scheme = "https" if context else "http"
            url = f"{scheme}://127.0.0.1:{server.server_port}/simple"
            yield Mirror(url, folder, Handler.asked)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with mirror_of(tmp_path / "mirror") as mirror:
        yield mirror


@dataclass
class Project:
    """A project whose locks pin the packages on the mirror: the real `uv`, and `tiny`.

    Attributes:
        folder: Its folder.
        home: The home directory of the person who works on it.
    """

    folder: Path
    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    def make(self, *targets: str) -> subprocess.CompletedProcess[str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_", "UV", "SSL_", "REQUESTS_CA", "CURL_CA"))
        }
        return subprocess.run(
            ["make", "--no-print-directory", f"PYTHON={sys.executable}", *(targets or (MADE,))],
            cwd=self.folder,
            env=kept | {"HOME": str(self.home)} | self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    @property
    def is_made(self) -> bool:
        """Whether its environment contains the packages that the lock pins."""
        python = self.folder / "build/tiny/bin/python"
        if not python.exists():
            return False
        found = subprocess.run(
            [python, "-I", "-c", INSTALLED], capture_output=True, text=True, check=False
        )
        return found.stdout.startswith(str(self.folder.resolve()))


def project_of(mirror: Mirror, folder: Path, home: Path) -> Project:
    (folder / "requirements").mkdir(parents=True)
    shutil.copytree(TEMPLATE / ".template", folder / ".template")
    (folder / "Makefile").write_text("include .template/environments.mk\n")
    real = shutil.which("uv", path=os.environ["PATH"]) or os.environ["UV"]
    pins = {
        "uv": {"uv-1.0.data/scripts/uv": f'#!/bin/sh\nexec "{real}" "$@"\n'},
        "tiny": {"tiny.py": ""},
    }
    for name, files in pins.items():
        (folder / f"requirements/{name}.txt").write_text(mirror.add(name, files))
    home.mkdir(exist_ok=True)
    return Project(folder, home)


@pytest.fixture
def project(mirror: Mirror, tmp_path: Path) -> Project:
    """A project of a person whose pip is configured to use the mirror."""
    project = project_of(mirror, tmp_path / "project", tmp_path / "home of somebody")
    configure(project, pip=f"[global]\nindex-url = {mirror.url}\n")
    return project


def configure(project: Project, *, pip: str = "", uv: str = "") -> None:
    for name, text in (("pip/pip.conf", pip), ("uv/uv.toml", uv)):
        path = project.home / ".config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


INSTALLERS = {
    "CONDA_PREFIX": "~/venv",
    "PIP_NO_BINARY": ":all:",
    "PIP_PREFIX": "~/prefix",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_USER": "1",
    "PYTHONHOME": "~/modules",
    "PYTHONPATH": "~/modules",
    "PYTHONSTARTUP": "~/nothing.py",
    "UV_EXCLUDE_NEWER": "2020-01-01",
    "UV_LINK_MODE": "symlink",
    "UV_NO_BINARY": "1",
    "UV_RESOLUTION": "lowest",
    "VIRTUAL_ENV": "~/venv",
}


class TestSettings:
    """Settings of pip and uv apply if they say where to install from, but not if they say how."""

    def test_variables(self, project: Project, mirror: Mirror) -> None:
        home = str(project.home)
        project.variables = {k: v.replace("~", home) for k, v in INSTALLERS.items()}
        result = project.make()
        assert result.returncode == 0, result.stdout
        assert project.is_made
        assert mirror.asked == {"pip", "uv"}
        assert not {".local", "prefix", "venv"} & {path.name for path in project.home.iterdir()}

    def test_files(self, project: Project, mirror: Mirror) -> None:
        """This includes `PIP_TARGET`, which pip can't combine with a prefix or a user's site."""
        configure(
            project,
            pip=f"[global]\nindex-url = {mirror.url}\n[install]\ntarget = {project.home}/target\n"
            "no-binary = :all:\n",
            uv='link-mode = "symlink"\nexclude-newer = "2020-01-01"\nno-binary = true\n'
            '[pip]\nresolution = "lowest"\ntarget = "elsewhere"\n',
        )
        project.variables = {"PIP_TARGET": str(project.home / "target")}
        result = project.make()
        assert result.returncode == 0, result.stdout
        assert project.is_made
        assert not (project.home / "target").exists()

    def test_a_mirror_that_only_uv_knows(self, project: Project, mirror: Mirror) -> None:
        configure(project, uv=f'[[index]]\nname = "ours"\nurl = "{mirror.url}"\ndefault = true\n')
        result = project.make()
        assert result.returncode == 0, result.stdout
        assert project.is_made
        assert mirror.asked == {"pip", "uv"}

    def test_a_mirror_with_a_certificate_of_its_own(self, tmp_path: Path) -> None:
        files = Authority("company").issue(tmp_path / "tls")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        with mirror_of(tmp_path / "mirror", context) as mirror:
            project = project_of(mirror, tmp_path / "project", tmp_path / "home")
            configure(project, pip=f"[global]\nindex-url = {mirror.url}\ncert = {files.ca}\n")
            result = project.make()
            assert result.returncode == 0, result.stdout
            assert project.is_made
            assert mirror.asked == {"pip", "uv"}


class TestSteps:
    """A step is complete as long as its results exist."""

    def test_one_that_broke_off_is_made_again(self, project: Project) -> None:
        lock = project.folder / "requirements/uv.txt"
        pinned = lock.read_text()
        lock.write_text(pinned[:-5] + "0000\n")
        assert project.make().returncode != 0
        lock.write_text(pinned)
        os.utime(lock, (0, 0))  # older than everything that the failed step has created
        result = project.make()
        assert result.returncode == 0, result.stdout
        assert project.is_made

    def test_environments_that_are_no_longer_right(self, project: Project, tmp_path: Path) -> None:
        assert project.make().returncode == 0
        assert project.make().stdout == f"make: '{MADE}' is up to date.\n"

        (project.folder / "build/tiny/bin/python").unlink()
        (project.folder / "build/tiny/bin/python").symlink_to(tmp_path / "gone")
        assert "Installing tiny" in project.make().stdout
        assert project.is_made

        project.folder = project.folder.rename(tmp_path / "moved")
        assert "Installing tiny" in project.make().stdout
        assert project.is_made
        assert project.make().stdout == f"make: '{MADE}' is up to date.\n"

    def test_an_odd_path(self, mirror: Mirror, tmp_path: Path) -> None:
        folder = tmp_path / 'it\'s a "project" #1 (ünï) $HOME & [x] 100%'
        project = project_of(mirror, folder, tmp_path / "home")
        configure(project, pip=f"[global]\nindex-url = {mirror.url}\n")
        result = project.make()
        assert result.returncode == 0, result.stdout
        assert project.is_made

    def test_a_path_with_a_colon(self, mirror: Mirror, tmp_path: Path) -> None:
        project = project_of(mirror, tmp_path / "a:b", tmp_path / "home")
        result = project.make()
        assert result.returncode != 0
        said, *rest = result.stdout.splitlines()
        assert said.startswith("error: Python can't create an environment in a path with a colon")
        assert len(rest) == 1  # this line is from make itself

    def test_ours_are_made_again_without_their_cache(self, tmp_path: Path) -> None:
        """Tests install from the cache, without a network."""
        for name in ("Makefile", "template", "requirements"):
            (tmp_path / name).symlink_to(ROOT / name)
        environments = ("build/uv", "build/cache", ".venv", "build/stubs", "build/libvirt")
        for name in (f"{environment}/.stamp" for environment in environments):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_text(f"{tmp_path}\n")

        def planned() -> str:
            plan = ["make", "--dry-run", "setup"]
            return subprocess.run(
                plan, cwd=tmp_path, check=True, capture_output=True, text=True
            ).stdout

        assert "Installing" not in planned()
        shutil.rmtree(tmp_path / "build/cache")
        assert "Installing the tools into .venv" in planned()


@pytest.fixture(scope="module")
def isolated() -> ModuleType:
    path = TEMPLATE / ".template/isolated.py"
    spec = importlib.util.spec_from_file_location("isolated", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestIsolated:
    """The environment variables of a command."""

    def environment(self, isolated: ModuleType, folder: Path, **variables: str) -> dict[str, str]:
        own = folder / "own"
        own.mkdir()
        surroundings = {"HOME": str(folder), "PATH": os.environ["PATH"], **variables}
        environment: dict[str, str] = isolated.isolated(surroundings, own)
        return environment

    def test_pip_and_uv_get_the_same_settings(self, isolated: ModuleType, tmp_path: Path) -> None:
        """Variables override the section of a command, which overrides the global section."""
        (tmp_path / ".pip").mkdir()
        (tmp_path / ".pip/pip.conf").write_text(
            "[global]\nindex_url = http://global/\nproxy = http://proxy:1\ntimeout = 7\n"
            "cert = /ca.crt\n"
            "trusted-host = one\n  two\n[install]\nindex-url = http://install/\n"
            "extra-index-url =\n  http://a/\n  http://b/\nuser = yes\n"
        )
        found = self.environment(isolated, tmp_path, PIP_PROXY="http://proxy:2", PIP_USER="1")
        assert {name: found[name] for name in found if name.startswith("PIP_")} == {
            "PIP_CERT": "/ca.crt",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_EXTRA_INDEX_URL": "http://a/ http://b/",
            "PIP_INDEX_URL": "http://install/",
            "PIP_PROXY": "http://proxy:2",
            "PIP_TIMEOUT": "7",
            "PIP_TRUSTED_HOST": "one two",
        }
        assert found["SSL_CERT_FILE"] == "/ca.crt"
        assert found["UV_DEFAULT_INDEX"] == "http://install/"
        assert found["UV_INDEX"] == "http://a/ http://b/"
        assert found["UV_INSECURE_HOST"] == "one two"
        assert found["ALL_PROXY"] == "http://proxy:2"

    def test_settings_of_uv_take_precedence(self, isolated: ModuleType, tmp_path: Path) -> None:
        variables = {"UV_DEFAULT_INDEX": "http://uv/", "PIP_INDEX_URL": "http://pip/"}
        found = self.environment(isolated, tmp_path, **variables)
        assert (found["UV_DEFAULT_INDEX"], found["PIP_INDEX_URL"]) == ("http://uv/", "http://pip/")

    def test_git_keeps_identities_and_credentials(
        self, isolated: ModuleType, tmp_path: Path
    ) -> None:
        """Values that need quotes work too. The project's own settings have precedence."""
        kept = {
            "credential.https://example.com.helper": '!f() { echo "a\\b"; }; f',
            "http.https://example.com/.extraheader": "X: y # z; ",
            "url.git@example.com:.insteadof": "https://example.com/",
            "user.email": "me@example.com",
            "user.name": 'Jürgen "J" \\ \t Q',
        }
        for name, value in (kept | {"core.autocrlf": "true"}).items():
            git(tmp_path, "config", "--file", ".gitconfig", name, value)
        found = self.environment(
            isolated,
            tmp_path,
            GIT_CONFIG_COUNT="2",
            GIT_CONFIG_KEY_0="http.proxy",
            GIT_CONFIG_VALUE_0="http://proxy:1",
            GIT_CONFIG_KEY_1="core.autocrlf",
            GIT_CONFIG_VALUE_1="true",
            GIT_DIR="/nowhere",
            GIT_SSH_COMMAND="ssh -v",
        )
        assert "GIT_DIR" not in found
        assert found["GIT_SSH_COMMAND"] == "ssh -v"
        listed = subprocess.run(
            ["git", "config", "--list", "-z"], env=found, capture_output=True, check=True
        ).stdout.decode()
        settings = dict(entry.partition("\n")[::2] for entry in listed.split("\0"))
        assert kept.items() <= settings.items()
        assert settings["http.proxy"] == "http://proxy:1"
        assert settings["core.autocrlf"] == "false"

    def test_a_broken_configuration_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "uv.toml").write_text("index-url = \n")
        result = subprocess.run(
            [sys.executable, "-I", TEMPLATE / ".template/isolated.py", "true"],
            env=os.environ | {"UV_CONFIG_FILE": str(tmp_path / "uv.toml")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 1
        assert result.stderr.startswith(f"error: {tmp_path}/uv.toml: ")
        assert len(result.stderr.splitlines()) == 1
