"""As much of a PDF by Chromium as tests need: its pages, their words, and the pictures that they show."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Page:
    text: str
    images: dict[int, tuple[float, float, float, float]]  # number of the object: left, bottom, right, top, in points
    size: tuple[float, float]


def pages(pdf: bytes) -> list[Page]:
    objects = {
        int(number): (
            head.decode("latin1"),
            zlib.decompressobj().decompress(stream) if b"/FlateDecode" in head else b"",
        )
        for number, head, stream in re.findall(
            rb"^(\d+) 0 obj\n(.*?)(?:stream\r?\n(.*?)\r?\nendstream\n)?endobj$", pdf, flags=re.M | re.S
        )
    }
    letters = {number: _letters(objects, head) for number, (head, _) in objects.items() if "/ToUnicode" in head}
    return [_page(head, objects, letters) for head, _ in objects.values() if head.startswith("<</Type /Page\n")]


def _page(head, objects, letters):
    fonts, pictures = ({f"{kind}{a}": int(b) for a, b in re.findall(rf"/{kind}(\d+) (\d+) 0 R", head)} for kind in "FX")
    content = objects[int(re.search(r"/Contents (\d+)", head)[1])][1].decode("latin1")
    words, images, font, place, saved = [], {}, {}, np.eye(3), []
    for shown in re.finditer(r"/(F\d+) \S+ Tf|<(\w+)>|\b(ET)\b|/(X\d+) Do|^(.*) cm$|^([qQ])$", content, flags=re.M):
        name, codes, end, picture, matrix, state = shown.groups()
        if name:
            font = letters[fonts[name]]
        elif codes:
            digits = len(next(iter(font)))
            words += [font.get(codes[k : k + digits], "?") for k in range(0, len(codes), digits)]
        elif end:
            words.append(" ")
        elif matrix:
            a, b, c, d, e, f = map(float, matrix.split())
            place = np.array([[a, b, 0], [c, d, 0], [e, f, 1]]) @ place
        elif state == "q":
            saved.append(place)
        elif state == "Q":
            place = saved.pop()
        elif picture and "/Subtype /Image" in objects[pictures[picture]][0]:
            corners = (np.array([[0, 0, 1], [1, 1, 1]]) @ place)[:, :2]
            images[pictures[picture]] = (*corners.min(0).tolist(), *corners.max(0).tolist())
    size = re.search(r"/MediaBox \[0 0 (\S+) (\S+)\]", head)
    return Page(" ".join("".join(words).split()), images, (float(size[1]), float(size[2])))


def _letters(objects, font):
    """What the codes of a font mean."""
    table = objects[int(re.search(r"/ToUnicode (\d+)", font)[1])][1].decode("latin1")
    found = {}
    for block in re.findall(r"beginbfchar(.*?)endbfchar", table, flags=re.S):
        found |= {code: _word(text) for code, text in re.findall(r"<(\w+)> <(\w+)>", block)}
    for block in re.findall(r"beginbfrange(.*?)endbfrange", table, flags=re.S):
        for first, last, text in re.findall(r"<(\w+)> <(\w+)> <(\w+)>", block):
            for k in range(int(last, 16) - int(first, 16) + 1):
                found[f"{int(first, 16) + k:0{len(first)}X}"] = _word(f"{int(text, 16) + k:0{len(text)}X}")
    return found


def _word(code: str) -> str:
    return bytes.fromhex(code).decode("utf-16-be", errors="replace")
