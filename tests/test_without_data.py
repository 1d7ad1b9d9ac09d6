"""The whole book without its data: it builds on the stand-in, says so, and skips what it cannot claim."""

import os
import re
import shutil
import subprocess

import house
import records


def test_book_builds_without_real_data(tmp_path, monkeypatch):
    listing = subprocess.run(["git", "ls-files"], cwd=house.ROOT, capture_output=True, text=True, check=True).stdout
    root = tmp_path / "book"
    for name in listing.splitlines():
        if (house.ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(house.ROOT / name, root / name)
    (tmp_path / "nothing").mkdir()
    monkeypatch.setitem(os.environ, "DEEPDYNAMICS_DATA", str(tmp_path / "nothing"))
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = house.build(root)
    assert run.returncode == 0, run.stdout + run.stderr
    ledger = (root / "_build" / "html" / "book" / "ledger.html").read_text("utf8")
    missing = records.data_sets(root, records.notebooks(root))
    assert "mnist" in missing and f"Built without the real data of: {', '.join(missing)}" in ledger
    claims = [claim for name in records.notebooks(root) for claim in records.find(root, name).claims]
    skipped = [claim for claim in claims if claim["verdict"] == "skipped"]
    assert skipped and {claim["skipped"] for claim in skipped} <= set(missing)
    assert len(re.findall("STAND-IN", "".join(p.read_text("utf8") for p in (root / "_build" / "html").rglob("*.html"))))
