"""The docstrings of the library as Markdown: prose, formulas, lists and examples, as they are written there.

Docstrings are for ``help()``: formulas stand in lines of their own, indented, or as ``.. math::``; names are between
backticks or in the roles of Sphinx; an example begins with ``>>>``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_INLINE = re.compile(
    r":(?P<role>[a-z]+):`(?P<text>[^`]+)`|``(?P<code>.+?)``(?!`)|(?<!`)`(?P<single>[^`]+)`"
    r"|\*\*(?P<strong>[^*\n]+)\*\*|(?<![\w*])\*(?P<emphasis>\w[^*\n]*\w|\w)\*(?![\w*])|arXiv:(?P<arxiv>\d+\.\d+)",
    flags=re.S,
)
# Indices and exponents of a letter, a sum or a bracket, as in x_{l-1}, λ_max, Σ_k, (√q z)^k; a longer name has none.
_SCRIPTS = re.compile(
    r"(?:(?<=(?<![^\W\d])[^\W\d_])|(?<=[\u0300-\u036f′)\]‖|Σ∫∏∇∂])|(?<=10)(?=\^))"
    r"(?:[_^](?:\{[^{}`]*\}|max\b|min\b|[α-ωΑ-Ω*∞₊]|-?[A-Za-z0-9]{1,2}(?![A-Za-z0-9])))+"
)
_PRIME = re.compile(r"(?<=[^\W\d_])'(?=[(²^'])|(?<=')'(?=[(\]])")
_LONG = 90  # signs of TeX
_BREAK = re.compile(r"(?<=,)\s*\\q?quad\s*")


def markdown(doc: str, link: Callable[[str], str]) -> str:
    """A docstring as Markdown; ``link`` makes a name into a link or into code."""
    return "\n\n".join(_blocks(doc.splitlines(), link))


def summary(doc: str, link: Callable[[str], str]) -> str:
    """Its first sentence."""
    first = " ".join(doc.split("\n\n")[0].split())
    return inline(re.split(r"(?<=[\w)`\]²]\.) (?=[A-Z`])|:$", first)[0], link)


def inline(text: str, link: Callable[[str], str]) -> str:
    """Prose: names become links or code, and what Markdown would take for its own signs is text."""
    parts, end = [], 0
    for match in _INLINE.finditer(text):
        parts += [literal(text[end : match.start()]), _mark(match, link)]
        end = match.end()
    return "".join([*parts, literal(text[end:])])


def literal(text: str) -> str:
    """Text with the signs of Markdown as text, and with indices and exponents where they belong."""
    parts, end = [], 0
    text = _PRIME.sub("′", re.sub(r"\s*\n\s*", " ", text))
    for match in _SCRIPTS.finditer(text):
        parts.append(_escape(text[end : match.start()]))
        for sign, script in re.findall(r"([_^])(\{[^{}]*\}|[^_^{}]+)", match[0]):
            parts.append(f"{{{'sub' if sign == '_' else 'sup'}}}`{script.strip('{}')}`")
        end = match.end()
    return "".join([*parts, _escape(text[end:])])


def _escape(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>$|{}&~#^])", r"\\\1", text)


def _mark(match: re.Match[str], link: Callable[[str], str]) -> str:
    found = {name: value for name, value in match.groupdict().items() if value}
    if found.get("role") == "math":
        return f"${' '.join(found['text'].split())}$"
    if "arxiv" in found:
        return f"[arXiv:{found['arxiv']}](https://arxiv.org/abs/{found['arxiv']})"
    if "strong" in found:
        return f"**{literal(found['strong'])}**"
    if "emphasis" in found:
        return f"*{literal(found['emphasis'])}*"
    return link(" ".join((found.get("text") or found.get("code") or found["single"]).split()))


def _blocks(lines: list[str], link: Callable[[str], str]) -> Iterator[str]:
    """The paragraphs, formulas, lists and examples of a docstring, which has no indentation of its own."""
    while lines:
        line = lines[0]
        if not line.strip():
            lines = lines[1:]
        elif line.startswith(">>>"):
            block, lines = _take(lines, lambda line: bool(line.strip()))
            yield _fence("pycon", block)
        elif line.startswith(".. math::"):
            rest, lines = _take(lines[1:], lambda line: not line.strip() or line.startswith(" "))
            yield from _math([line.removeprefix(".. math::"), *rest])
        elif line.startswith(" "):
            block, lines = _take(lines, lambda line: not line.strip() or line.startswith(" "))
            yield _fence("text", _dedent(block))
        elif line.startswith("- "):
            block, lines = _take(lines, lambda line: line.startswith(("- ", "  ")))
            items = re.split(r"^- ", "\n".join(block), flags=re.M)[1:]
            yield "\n".join(f"- {inline(item.strip(), link)}" for item in items)
        else:
            block, lines = _take(lines, lambda line: bool(line.strip()) and not line.startswith((" ", ">>>", "- ")))
            yield re.sub(r"^(\d+)(?=[.)] )|^(?=[-+] |=)", r"\1\\", inline("\n".join(block), link))


def _take(lines: list[str], while_: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    count = next((i for i, line in enumerate(lines) if not while_(line) and i), len(lines))
    return lines[:count], lines[count:]


def _math(lines: list[str]) -> Iterator[str]:
    """Displayed formulas, one for each part between empty lines; what stands apart in a line gets a line of its own."""
    for part in re.split(r"\n\s*\n", "\n".join(lines).strip()):
        text = " ".join(part.split())
        inner = re.sub(r"\\begin\{(\w+)\}.*?\\end\{\1\}", "", text)
        if "\\\\" in inner or "&" in inner:
            yield f"$$\n\\begin{{aligned}}\n{text}\n\\end{{aligned}}\n$$"
        else:
            rows = " \\\\\n".join(row for piece in _BREAK.split(text) for row in _rows(piece))
            yield f"$$\n\\begin{{gathered}}\n{rows}\n\\end{{gathered}}\n$$" if "\\\\\n" in rows else f"$$\n{rows}\n$$"


def _rows(text: str) -> list[str]:
    """A long formula in rows that fit a phone: a new one before each = and + that stands in no bracket."""
    rows, depth = [""], 0
    for piece in re.split(r"( (?=[=+] )|[{(\[\])}])", text):
        depth += (piece in ("{", "(", "[")) - (piece in ("}", ")", "]"))
        if piece == " " and not depth and len(text) > _LONG:
            rows.append("")
        else:
            rows[-1] += piece
    return rows


def _dedent(lines: list[str]) -> list[str]:
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return [line[margin:] for line in lines]


def _fence(language: str, lines: list[str]) -> str:
    return "\n".join([f"```{language}", *"\n".join(lines).rstrip().split("\n"), "```"])
