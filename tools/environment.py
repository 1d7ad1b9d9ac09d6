"""Make .venv, the environment of all commands, or leave it alone when nothing has changed. The Makefile calls this.

python tools/environment.py            the tested versions (constraints.txt), and the library of this folder
python tools/environment.py bench      and an extra of pyproject.toml

It needs Python 3.11 or newer, and a network the first time.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
VENV = PROJECT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
MARK = VENV / "installed"
# A CPU build of torch is enough, and much smaller than the default of the package index on Linux; where this index
# cannot be reached, the default is taken.
TORCH_INDEX = os.environ.get("TORCH_INDEX", "https://download.pytorch.org/whl/cpu")
NO_NETWORK = """\
The packages cannot be downloaded. The first build needs a network (or a package index that pip is configured for);
after that the book builds without one."""


def pip(*arguments: str, quiet: bool = False) -> int:
    command = [str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", "constraints.txt"]
    return subprocess.run([*command, *arguments], cwd=PROJECT, capture_output=quiet, check=False).returncode


def versions() -> str:
    """What the packages depend on."""
    files = (PROJECT / name for name in ("pyproject.toml", "constraints.txt"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def installed() -> list[str]:
    """The versions and the place that the environment was made for; none where it does not run."""
    if not MARK.is_file() or subprocess.run([str(PYTHON), "-c", ""], capture_output=True, check=False).returncode:
        return ["", ""]
    return [*MARK.read_text("utf8").splitlines(), "", ""][:2]


def write(*lines: str) -> None:
    """A new file in place of the mark: that of a copied folder may be linked to the original's."""
    MARK.unlink(missing_ok=True)
    MARK.write_text("\n".join(lines), "utf8")


def create() -> str | None:
    """All packages anew; returns what is wrong."""
    if not PYTHON.exists() or subprocess.run([str(PYTHON), "-m", "pip", "-V"], capture_output=True).returncode:
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False)
        if made.returncode:
            return f"{sys.executable} cannot make an environment; on Debian and Ubuntu: apt install python3-venv"
    if pip(
        "--dry-run", "--ignore-installed", "--no-deps", "--timeout", "10", "--retries", "0", "hatchling", quiet=True
    ):
        return NO_NETWORK
    print(f"Installing the packages of constraints.txt into {VENV.name}", flush=True)
    pip("--timeout", "10", "--retries", "0", "--index-url", TORCH_INDEX, "torch", quiet=True)
    if pip("-e", ".[book,test,lint]"):
        return "pip could not install the packages (its message is above)"
    return None


def move() -> str | None:
    """The folder was copied or moved: the environment must take the library from here. Needs no network."""
    print("The folder has moved: installing its library again", flush=True)
    if pip("--no-deps", "--no-build-isolation", "-e", "."):
        return "pip could not install the library of this folder (its message is above); remove .venv and try again"
    return None


def main(*extras: str) -> str | None:
    if sys.version_info < (3, 11):  # noqa: UP036  (whoever runs this may have an older one)
        this = ".".join(map(str, sys.version_info[:2]))
        return f"Python 3.11 or newer is needed, this is {this}. With another one: make PYTHON=python3.12"
    wanted, found = [versions(), str(PROJECT)], installed()
    if found != wanted:
        problem = move() if found[0] == wanted[0] else create()
        if problem:
            return problem
        write(*wanted)
    if extras and pip("-e", f".[{','.join(extras)}]"):
        return f"pip could not install the packages of {', '.join(extras)} (its message is above)"
    return None


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
