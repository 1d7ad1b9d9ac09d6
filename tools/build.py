"""Build the book: data, chapters, pages. ``make book`` calls this.

python tools/build.py                      everything, into _build/html; nothing when nothing has changed
python tools/build.py --chapter NAME       execute one chapter only (the last part of its file name), without building
the pages python tools/build.py --root DIR           another book, of the same layout
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def stamp(root: Path) -> str:
    """A hash of everything the pages are made from: the files of the project and which data sets there are."""
    from deepdynamics import data

    try:
        listing = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=True
        ).stdout
        files = sorted(root / line for line in listing.splitlines())
    except (OSError, subprocess.CalledProcessError):
        skipped = (root / "_build", root / ".venv")
        files = sorted(
            path
            for path in root.rglob("*")
            if path.is_file() and not path.is_relative_to(skipped[0]) and not path.is_relative_to(skipped[1])
        )
    digest = hashlib.sha256(repr(sorted(data.inventory().items())).encode())
    for path in files:
        if path.is_file():
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def fetch_data(root: Path, docnames: list[str]) -> None:
    """Fetch what the chapters load, give up soon where there is no network, and say what was found."""
    import records

    needed = records.data_sets(root, docnames)
    if needed:
        subprocess.run([sys.executable, "-m", "deepdynamics.data", "fetch", *needed, "--timeout", "20"], check=False)


def twice(root: Path, docnames: list[str]) -> list[str]:
    """Claims whose key is not unique in the book."""
    import records

    found = [
        (claim["key"], record.docname)
        for docname in docnames
        if (record := records.find(root, docname))
        for claim in record.claims
    ]
    count = Counter(key for key, _ in found)
    return [
        f"claim {key!r} occurs more than once: " + ", ".join(sorted({d for k, d in found if k == key}))
        for key in count
        if count[key] > 1
    ]


def pages(root: Path) -> int:
    """Run Jupyter Book from clean, every warning an error."""
    for folder in (".doctrees", "html"):
        shutil.rmtree(root / "_build" / folder, ignore_errors=True)
    book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*book, "build", ".", "-n", "-W", "--keep-going", "--quiet"]
    return subprocess.run(command, cwd=root, env=os.environ | {"DEEPDYNAMICS_OFFLINE": "1"}).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=PROJECT)
    parser.add_argument("--chapter")
    arguments = parser.parse_args()
    root, start = arguments.root.resolve(), time.perf_counter()
    html, mark = root / "_build" / "html", root / "_build" / "stamp"
    before = stamp(root)
    if not arguments.chapter and mark.is_file() and mark.read_text() == before and (html / "index.html").is_file():
        print(f"Nothing has changed. Open {html / 'index.html'}")
        return 0
    sys.path.insert(0, str(PROJECT / "tools"))
    import chapter_checks

    lacking = chapter_checks.check(root, arguments.chapter)
    if lacking:
        print("\n".join(["", *lacking, f"{len(lacking)} missing or wrong; nothing was executed"]), file=sys.stderr)
        return 1
    from execute import execute, records

    names = [name for name in records.notebooks(root) if arguments.chapter in (None, name.rsplit("/", 1)[-1])]
    fetch_data(root, names)
    print(f"Executing {len(names)} chapters (those that changed)", flush=True)
    failures = execute(root, names) or twice(root, names) + chapter_checks.unknown_sources(root, names)
    if failures:
        print("\n\n".join(["", *failures, f"{len(failures)} failure(s); no pages were built"]), file=sys.stderr)
        return 1
    if arguments.chapter:
        return 0
    code = pages(root)
    if code:
        print("Jupyter Book reported the warnings or errors above", file=sys.stderr)
        return 1
    mark.write_text(stamp(root) if stamp(root) == before else "changed while building")
    print(f"Built in {time.perf_counter() - start:.0f} s. Open {html / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
