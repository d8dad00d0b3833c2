"""Container images, which buildah builds from the unchanged Dockerfiles.

Without a registry, a base image made of Debian packages replaces `python` and `golang`.
"""

import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import yaml

from e2e.binaries import BRIDGE, CACHE, PAUSE, cache_lock
from tests.support import ROOT

SUITE: Final = "trixie"
_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
_RECIPE: Final = [
    "mmdebstrap",
    "--quiet",
    "--variant=minbase",
    *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "man", "locale")),
    "--include=python3,python3-venv,ca-certificates",
    # So that pip and Go trust the proxy of a company that signs with its own certificate.
    f'--customize-hook=cp {_CERTIFICATES} "$1"{_CERTIFICATES}',
    # As in the image `python`, pip may install for everyone, and `python` is a command.
    '--customize-hook=rm "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
    '--customize-hook=ln -s ../../bin/python3 "$1"/usr/local/bin/python',
    (
        '--customize-hook=chroot "$1" sh -c "python3 '
        "\\$(echo /usr/share/python-wheels/pip-*.whl)/pip"
        f' --quiet --no-cache-dir --cert {_CERTIFICATES} install pip"'
    ),
]
"""Makes the base image. It replaces `golang` too, since the build uses this machine's Go."""

_PATH: Final = "/usr/local/go/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"

BASE: Final = CACHE / f"base-{sha256(repr(_RECIPE).encode()).hexdigest()[:8]}.tar"
"""The files of the base image."""

MCM: Final = BRIDGE / "machine-controller-manager"
_ARCHIVES: Final = ROOT / "build" / "images"

PAUSE_IMAGE: Final = "registry.example/pause:1"
"""The image of the Pods' sandboxes and of the guests."""


@dataclass(frozen=True)
class Image:
    """An image in an archive. Manifests use its name."""

    name: str
    archive: Path


@dataclass(frozen=True)
class Images:
    """All images of a cluster with a project's driver."""

    machine_controller_manager: Image
    bridge: Image
    driver: Image
    pause: Image

    def __iter__(self) -> Iterator[Image]:
        return iter((self.machine_controller_manager, self.bridge, self.driver, self.pause))


def images_of(project: Path) -> Images:
    """Return the images of a rendered project of the provider `acme`, built or not."""
    kustomization = yaml.safe_load((project / "kubernetes/deploy/kustomization.yaml").read_text())
    names = {
        each["name"]: f"{each['newName']}:{each['newTag']}" for each in kustomization["images"]
    }
    driver = [project / name for name in ("Dockerfile", "pyproject.toml", "requirements")]
    driver += [project / name for name in ("cmi", "acme")]
    bridge = [BRIDGE.parent / name for name in ("Dockerfile", "go.mod", "go.sum")]
    bridge += [BRIDGE.parent / name for name in ("cmd", "internal")]

    def image(short: str, name: str, parts: Iterable[Path]) -> Image:
        digest = _digest(name, *parts)
        return Image(name, _ARCHIVES / f"{short}-{digest}.tar")

    return Images(
        image("mcm", names["machine-controller-manager"], [MCM]),
        image("bridge", names["bridge"], bridge),
        image("driver", names["driver"], driver),
        pause(),
    )


def pause() -> Image:
    """Return the image of a program that only waits, built or not."""
    return Image(PAUSE_IMAGE, _ARCHIVES / f"pause-{_digest(PAUSE_IMAGE, PAUSE)}.tar")


def make_base() -> str:
    """Make the base image if it does not exist yet.

    Returns:
        The reason in one line if that failed; nothing otherwise.
    """
    if BASE.exists():
        return ""
    with cache_lock():
        if BASE.exists():
            return ""
        print("Making a base image from Debian packages; that takes minutes", flush=True)
        unfinished = BASE.with_suffix(".new.tar")
        command = [*_RECIPE, SUITE, str(unfinished), *mirrors()]
        if subprocess.run(command, check=False).returncode != 0:
            unfinished.unlink(missing_ok=True)
            return "mmdebstrap failed; see above"
        unfinished.rename(BASE)
        return ""


def build(project: Path) -> None:
    """Build the images of a project that do not exist yet."""
    images = images_of(project)
    _ARCHIVES.mkdir(parents=True, exist_ok=True)
    with _storage() as buildah:
        if not images.driver.archive.exists() or not images.bridge.archive.exists():
            _import_base(buildah, _bases(project, BRIDGE.parent))
        _build(buildah, images.driver, project)
        _build(buildah, images.bridge, BRIDGE.parent, *_go())
        _build_of_program(buildah, images.machine_controller_manager, MCM)
        _build_of_program(buildah, images.pause, PAUSE)


def build_pause() -> None:
    """Build the image of the program that only waits, if it does not exist yet."""
    _ARCHIVES.mkdir(parents=True, exist_ok=True)
    with _storage() as buildah:
        _build_of_program(buildah, pause(), PAUSE)


def _digest(name: str, *parts: Path) -> str:
    """Return a digest of what goes into an image."""
    digest = sha256(f"{name} {BASE.name}".encode())
    for part in parts:
        files = sorted(part.rglob("*")) if part.is_dir() else [part]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(part.parent)}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def mirrors() -> list[str]:
    """Return the address of the mirror that apt is set up with, if it has the base image's suite.

    Otherwise, mmdebstrap knows Debian's own. The mirrors of other distributions don't have it.
    """
    if platform.freedesktop_os_release()["ID"] != "debian":
        return []
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    found = subprocess.check_output(command, text=True).split()
    return [next(address for address in found if "security" not in address)]


@contextmanager
def _storage() -> Iterator[Callable[..., None]]:
    """Yield a function that runs buildah, whose images are in a temporary folder."""
    with tempfile.TemporaryDirectory(dir=_ARCHIVES) as folder:
        own = [f"--root={folder}/images", f"--runroot={folder}/run", "--storage-driver=overlay"]

        def buildah(command: str, *arguments: str | Path) -> None:
            every = ["buildah", *own, command, *map(str, arguments)]
            result = subprocess.run(
                every, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
            if result.returncode != 0:
                print(result.stdout, flush=True)
                result.check_returncode()

        yield buildah


def _bases(*folders: Path) -> set[str]:
    """Return the images that the Dockerfiles in these folders are based on."""
    first_lines = re.compile(r"^FROM (?:--platform=\S+ )?(\S+)", re.MULTILINE)
    texts = [(folder / "Dockerfile").read_text() for folder in folders]
    return {name for text in texts for name in first_lines.findall(text)} - {"scratch"}


def _import_base(buildah: Callable[..., None], names: set[str]) -> None:
    buildah("from", "--name=base", "scratch")
    buildah("add", "base", BASE, "/")
    buildah("config", f"--env=PATH={_PATH}", "base")
    first, *others = sorted(f"docker.io/library/{name}" for name in names)
    buildah("commit", "base", first)
    for other in others:
        buildah("tag", first, other)


def _build(buildah: Callable[..., None], image: Image, folder: Path, *options: str) -> None:
    """Build an image from the Dockerfile in a folder, and remove its older archives."""
    if image.archive.exists():
        return
    print(f"Building the image {image.name}", flush=True)
    for older in _ARCHIVES.glob(f"{image.archive.name.partition('-')[0]}-*.tar"):
        older.unlink()
    here = ("--pull-never", "--isolation=chroot", "--layers=false")
    buildah("build", *here, *options, f"--tag={image.name}", folder)
    unfinished = image.archive.with_suffix(".new")
    buildah("push", image.name, f"docker-archive:{unfinished}:{image.name}")
    unfinished.rename(image.archive)


def _go() -> list[str]:
    """Return the options with which a build uses this machine's Go and its caches."""
    places = {
        "GOROOT": "/usr/local/go:ro",
        "GOMODCACHE": "/root/go/pkg/mod",
        "GOCACHE": "/root/.cache/go-build",
    }
    found = subprocess.check_output(["go", "env", *places], text=True).splitlines()
    return [
        f"--volume={source}:{target}" for source, target in zip(found, places.values(), strict=True)
    ]


def _build_of_program(buildah: Callable[..., None], image: Image, program: Path) -> None:
    """Build an image that contains only a program."""
    lines = [
        "FROM scratch",
        f"COPY {program.name} /",
        "USER 65532:65532",
        f'ENTRYPOINT ["/{program.name}"]',
    ]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(program, folder)
        (Path(folder) / "Dockerfile").write_text("\n".join(lines))
        _build(buildah, image, Path(folder))
