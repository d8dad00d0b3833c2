"""Run a command without the user's settings: `isolated.py COMMAND [ARGUMENT...]`.

There are two kinds of settings of git, pip and uv. This keeps those about the user and the network
(identity, credentials, proxies, certificates, mirrors). It ignores those about how files are
written, compared, ignored and installed. So an update or an installation does the same for
everybody, whatever they, their company or their CI have configured.
"""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

Environment: TypeAlias = dict[str, str]
Setting: TypeAlias = tuple[str, str]
"""A key and a value of git's configuration. A key may occur several times."""

GIT_KEPT: Final = re.compile(
    r"(author|committer|credential|filter|gpg|http|https|lfs|protocol|safe|ssh|url|user)\..*"
    r"|core\.(askpass|gitproxy|longpaths|sshcommand)|commit\.gpgsign"
)
GIT_VARIABLES_KEPT: Final = re.compile(
    r"GIT_(ALLOW_PROTOCOL|ASKPASS|AUTHOR_.*|CEILING_DIRECTORIES|COMMITTER_.*|CURL_.*"
    r"|DISCOVERY_ACROSS_FILESYSTEM|EXEC_PATH|HTTP_.*|LFS_.*|PROTOCOL.*|PROXY_.*|SSH.*|SSL_.*"
    r"|TERMINAL_PROMPT|TRACE.*)"
)
GIT_OVERRIDDEN: Final = {
    "apply.ignoreWhitespace": "no",
    "apply.whitespace": "nowarn",
    "color.ui": "false",
    "column.ui": "never",
    "commit.cleanup": "strip",
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.quotePath": "true",
    "core.safecrlf": "false",
    "diff.mnemonicPrefix": "false",
    "diff.noprefix": "false",
    "gc.auto": "0",
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
    "log.showSignature": "false",
    "maintenance.auto": "false",
    "merge.conflictStyle": "merge",
    # With `all`, copier would pass each file of .venv on a command line.
    "status.showUntrackedFiles": "normal",
}
"""Overrides of a repository's own configuration, which can't be left out."""

UV_VARIABLES_KEPT: Final = re.compile(
    r"UV|UV_(CACHE_DIR|CONCURRENT_.*|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|HTTP_.*|INDEX"
    r"|INDEX_.*|INSECURE_HOST|KEYRING_PROVIDER|NATIVE_TLS|NO_INDEX|OFFLINE|PYTHON_DOWNLOADS"
    r"|REQUEST_TIMEOUT|SYSTEM_CERTS)"
)
UV_KEYS_KEPT: Final = {
    "allow-insecure-host",
    "cache-dir",
    "concurrent-downloads",
    "extra-index-url",
    "find-links",
    "http-proxy",
    "https-proxy",
    "index",
    "index-strategy",
    "index-url",
    "keyring-provider",
    "native-tls",
    "no-index",
    "no-proxy",
    "offline",
    "system-certs",
}
PIP_KEPT: Final = {
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_DEFAULT_INDEX",
    "keyring-provider": "UV_KEYRING_PROVIDER",
    "no-index": "UV_NO_INDEX",
    "proxy": "ALL_PROXY",
    "retries": "UV_HTTP_RETRIES",
    "timeout": "UV_HTTP_TIMEOUT",
    "trusted-host": "UV_INSECURE_HOST",
}
"""The kept settings of pip, and the corresponding settings of uv."""

PYTHON_DROPPED: Final = re.compile(
    r"PYTHON(HOME|INSPECT|OPTIMIZE|PATH|PLATLIBDIR|STARTUP|USERBASE|WARNINGS)|VIRTUAL_ENV"
    r"|CONDA_PREFIX|__PYVENV_LAUNCHER__"
)


def isolated(environment: Mapping[str, str], folder: Path) -> Environment:
    """Return an environment without the user's settings.

    Args:
        environment: The environment that contains the settings, or the paths of their files.
        folder: A folder for configuration files, which must exist as long as the result is used.
    """
    surroundings = {
        name: value for name, value in environment.items() if not PYTHON_DROPPED.fullmatch(name)
    }
    return _for_installers(_for_git(surroundings, folder), folder)


def _for_git(environment: Mapping[str, str], folder: Path) -> Environment:
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("GIT_") or GIT_VARIABLES_KEPT.fullmatch(name)
    }
    if shutil.which("git") is None:
        return kept
    # The repository is that of this folder, whatever the variables say.
    configured = kept | {
        name: value for name, value in environment.items() if name.startswith("GIT_CONFIG")
    }
    files: list[Setting] = []
    variables: list[Setting] = []
    for scope, key, value in _git_settings(configured):
        if scope in ("global", "system") and GIT_KEPT.fullmatch(key):
            files.append((key, value))
        elif scope == "command" and GIT_KEPT.fullmatch(key):
            variables.append((key, value))
    _write(folder / "gitconfig", "".join(_section(*setting) for setting in files))
    _write(folder / "ignored", _ignored(configured))
    variables += GIT_OVERRIDDEN.items()
    variables.append(("core.excludesFile", str(folder / "ignored")))
    kept |= {
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": str(len(variables)),
        "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
        "GIT_CONFIG_SYSTEM": os.devnull,
    }
    for number, (key, value) in enumerate(variables):
        kept |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return kept


def _git_settings(environment: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    """Yield the scope, the key and the value of each of git's settings in this folder."""
    listed = _git(environment, "config", "--list", "--includes", "--show-scope", "-z").split("\0")
    for scope, setting in zip(listed[::2], listed[1::2], strict=False):
        key, has_value, value = setting.partition("\n")
        yield scope, key, value if has_value else "true"


def _section(key: str, value: str) -> str:
    """Return a setting in the syntax of a configuration file."""
    section, _, rest = key.partition(".")
    subsection, has_subsection, name = rest.rpartition(".")
    title = f"{section} {_quoted(subsection)}" if has_subsection else section
    return f"[{title}]\n\t{name} = {_quoted(value)}\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _ignored(environment: Mapping[str, str]) -> str:
    """Return patterns of all files that git ignores here.

    A user's global list of patterns can't be used directly: copier compares projects in
    temporary repositories, and would not see files there that match.
    """
    listing = ("--others", "--ignored", "--exclude-standard", "--directory", "--full-name", "-z")
    paths = _git(environment, "ls-files", *listing).split("\0")
    escaped = (re.sub(r"[\\*?\[ ]", r"\\\g<0>", path) for path in paths if path)
    return "".join(f"/{path}\n" for path in escaped if "\n" not in path)


def _git(environment: Mapping[str, str], *arguments: str) -> str:
    """Return git's output, or nothing if there is no repository."""
    result = subprocess.run(
        ["git", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return os.fsdecode(result.stdout) if result.returncode == 0 else ""


def _for_installers(environment: Mapping[str, str], folder: Path) -> Environment:
    pip = _pip_settings(environment)
    uv = _uv_settings(environment)
    _write(folder / "uv.toml", "".join(f"{key} = {_toml(value)}\n" for key, value in uv.items()))
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(("PIP_", "UV_")) or UV_VARIABLES_KEPT.fullmatch(name)
    }
    translated = {PIP_KEPT[key]: value for key, value in pip.items()}
    if "UV_FIND_LINKS" in translated:
        translated["UV_FIND_LINKS"] = translated["UV_FIND_LINKS"].replace(" ", ",")
    if _uv_index(environment, uv):
        translated.pop("UV_DEFAULT_INDEX", None)
        pip.setdefault("index-url", _uv_index(environment, uv))
    kept = translated | kept
    kept |= {f"PIP_{key.upper().replace('-', '_')}": value for key, value in pip.items()}
    return kept | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONNOUSERSITE": "1",
        "UV_CONFIG_FILE": str(folder / "uv.toml"),
    }


def _pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the kept settings from pip's files and variables.

    For the location of the files, see https://pip.pypa.io/en/stable/topics/configuration/
    """
    home = Path(environment.get("HOME", "/"))
    configuration = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    files = [
        *(Path(each, "pip/pip.conf") for each in _configuration_folders(environment)),
        Path("/Library/Application Support/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        home / "Library/Application Support/pip/pip.conf",
        configuration / "pip/pip.conf",
        Path(sys.prefix, "pip.conf"),
    ]
    if own := environment.get("PIP_CONFIG_FILE"):
        files = [] if own == os.devnull else [*files, Path(own)]
    parser = configparser.RawConfigParser()
    for path in files:
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeError):  # the error's text may contain a password
            raise ValueError(f"{path}: this is not a pip configuration") from None
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            settings |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for name, value in environment.items():
        if name.startswith("PIP_"):
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return {
        key: " ".join(value.split()) for key, value in settings.items() if value and key in PIP_KEPT
    }


def _uv_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the kept settings from uv's files.

    For the location of the files, see https://docs.astral.sh/uv/concepts/configuration-files/
    """
    home = Path(environment.get("HOME", "/"))
    configuration = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    system = (Path(each, "uv/uv.toml") for each in _configuration_folders(environment))
    files = [Path("/etc/uv/uv.toml"), *system, configuration / "uv/uv.toml"]
    if own := environment.get("UV_CONFIG_FILE"):
        files = [Path(own)]
    elif environment.get("UV_NO_CONFIG"):
        files = []
    settings: dict[str, Any] = {}
    for path in filter(Path.is_file, files):
        try:
            read = tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        found = read.pop("pip", {}) | read
        settings |= {key: value for key, value in found.items() if key in UV_KEYS_KEPT}
    return settings


def _configuration_folders(environment: Mapping[str, str]) -> Sequence[str]:
    """Return the folders of the XDG base directory specification, the most important one last."""
    return (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")[::-1]


def _uv_index(environment: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Return uv's default index, or nothing."""
    indexes = [each["url"] for each in settings.get("index", ()) if each.get("default")]
    named = (environment.get("UV_DEFAULT_INDEX"), environment.get("UV_INDEX_URL"))
    return str(next(filter(None, (*named, *indexes, settings.get("index-url"))), ""))


def _write(path: Path, text: str) -> None:
    """Write a text that may contain file names, as bytes, whatever the locale is."""
    path.write_bytes(os.fsencode(text))


def _toml(value: Any) -> str:
    match value:
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{{', '.join(f'{key} = {_toml(inner)}' for key, inner in value.items())}}}"
        case _:
            return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="isolated-") as temporary:
        try:
            sys.exit(
                subprocess.run(
                    sys.argv[1:], env=isolated(os.environ, Path(temporary)), check=False
                ).returncode
            )
        except KeyboardInterrupt:
            sys.exit(130)
        except (OSError, ValueError) as error:
            sys.exit(f"error: {error}")
