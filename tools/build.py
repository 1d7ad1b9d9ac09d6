"""Build the book: data, chapters, pages. ``make book`` calls this.

python tools/build.py                      everything, into _build/html; nothing when nothing has changed
python tools/build.py --chapter NAME       execute one chapter only (the last part of its file name), without building
                                           the pages
python tools/build.py --root DIR           another book, of the same layout
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from filelock import FileLock, Timeout
from files import project_files

PROJECT = Path(__file__).resolve().parents[1]


def use_library(root: Path) -> None:
    """Let this process and all that it starts take the library that lies in ``root``, whatever is installed."""
    sys.path.insert(0, str(root / "lib"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root / "lib"), os.environ.get("PYTHONPATH")]))


def stamp(root: Path) -> str:
    """A hash of everything the pages are made from: the files of the project and which data sets there are."""
    from deepdynamics import data

    digest = hashlib.sha256(repr(sorted(data.inventory().items())).encode())
    for path in project_files(root):
        if path.relative_to(root).parts[0] == "tests":
            continue  # no page shows them
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def call(command: list[str], **options: object) -> int:
    """Run a command to its end; an interruption ends it, too, and it prints nothing about it."""
    process = subprocess.Popen(command, start_new_session=os.name == "posix", **options)  # type: ignore[call-overload]
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.kill()
        process.wait()
        raise


def fetch_data(root: Path, docnames: list[str]) -> None:
    """Fetch what the chapters load, give up soon where there is no network, and say what was found."""
    import records

    needed = records.data_sets(root, docnames)
    if needed:
        call([sys.executable, "-m", "deepdynamics.data", "fetch", *needed, "--timeout", "20"])


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
    """Run Jupyter Book from clean, every warning an error. The pages of the last build come back when it fails."""
    html, before = root / "_build" / "html", root / "_build" / "html-before"
    shutil.rmtree(root / "_build" / ".doctrees", ignore_errors=True)
    if html.is_dir():
        shutil.rmtree(before, ignore_errors=True)
        html.rename(before)
    book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*book, "build", ".", "-n", "-W", "--keep-going", "--quiet"]
    code = 1
    try:
        code = call(command, cwd=root, env=os.environ | {"DEEPDYNAMICS_OFFLINE": "1"})
    finally:
        if code and before.is_dir():
            shutil.rmtree(html, ignore_errors=True)
            before.rename(html)
        shutil.rmtree(before, ignore_errors=True)
    return code


def chosen(names: list[str], chapter: str | None) -> list[str]:
    """The chapters to execute: all, or the one that is asked for."""
    slugs = {name.rsplit("/", 1)[-1]: name for name in names}
    if chapter is None:
        return names
    if chapter in slugs:
        return [slugs[chapter]]
    near = difflib.get_close_matches(chapter, slugs, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(slugs)}."
    sys.exit(f"There is no chapter {chapter!r} in _toc.yml; {hint}")


def build(root: Path, chapter: str | None) -> int:
    start, html, mark = time.perf_counter(), root / "_build" / "html", root / "_build" / "stamp"
    before = stamp(root)
    if not chapter and mark.is_file() and mark.read_text() == before and (html / "index.html").is_file():
        print(f"Nothing has changed. Open {html / 'index.html'}")
        return 0
    import chapter_checks
    import claim_checks
    from execute import execute, records

    lacking = chapter_checks.check(root, chapter)
    if lacking:
        print("\n".join(["", *lacking, f"{len(lacking)} missing or wrong; nothing was executed"]), file=sys.stderr)
        return 1
    names = chosen(records.notebooks(root), chapter)
    fetch_data(root, names)
    print(f"Executing {len(names)} chapter{'s' * (len(names) != 1)} (only what has changed)", flush=True)
    failures = execute(root, names) or twice(root, names) + claim_checks.executed(root, names)
    if failures:
        print("\n\n".join(["", *failures, f"{len(failures)} failure(s); no pages were built"]), file=sys.stderr)
        return 1
    if chapter:
        return 0
    mark.unlink(missing_ok=True)  # the pages are not those of the stamp from here on
    if pages(root):
        print("Jupyter Book reported the warnings or errors above; the pages are those of the last build, if any.")
        return 1
    mark.write_text(before if stamp(root) == before else "changed while building")
    print(f"Built in {time.perf_counter() - start:.0f} s. Open {html / 'index.html'}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=PROJECT)
    parser.add_argument("--chapter")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    use_library(root)
    (root / "_build").mkdir(exist_ok=True)
    try:
        with FileLock(root / "_build" / "lock").acquire(timeout=0):
            return build(root, arguments.chapter)
    except Timeout:
        print("Another build is at work in this folder: wait until it is done.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The chapters that were done are kept; make book goes on from there.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
