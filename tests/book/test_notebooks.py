"""Exported notebooks: a chapter with one of everything reads well in plain Jupyter, runs, installs what is missing."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import house
import nbformat
import pytest
from docutils import nodes
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "book" / "_ext")]
import notebook_writer  # noqa: E402
import notebooks  # noqa: E402
import records  # noqa: E402
import rotation  # noqa: E402

NAME = "book/mini/layers-as-time"
SITE = "https://the-site.example/"
REPOSITORY = "https://github.com/the-owner/the-book"
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])

CHAPTER = (
    house.HEAD
    + r"""(layers-as-time)=
# A chapter with everything

```{chapter-head}
:needs: Gaussian integrals
```

A cost of \$5 for 3 * 4 stars, snake_case, `inline code`, *emphasis* and a
second line. A formula $\E[x] = 0$ in $\R^n$ {cite:p}`poole2016exponential`. See {numref}`fig-curve`, {eq}`eq-map`,
{prf:ref}`thm-linear`, {ref}`ex-one`, {numref}`tab-phases`, {term}`edge of chaos`, {ref}`the other <order-and-chaos>`,
{ref}`claim-mini-tanh` and [a page](https://example.org/x_(y)).

```{admonition} After this chapter you can
:class: objectives
- compute $\chi_1$, see {eq}`eq-map`;
- say what it means.
```

```{note}
A formula

$$
a
= b
$$
```

## Set-up

```{code-cell} ipython3
import numpy as np
from deepdynamics import activations, figures
from deepdynamics.claims import claim, glue
figures.use_style()
```

$$ c^{l+1} = \frac{1}{q^*}\E\bigl[\phi(u)\bigr] $$ (eq-map)

\begin{align}
a &= b \\
c &= d
\end{align}

```{prf:theorem} Linear case
:label: thm-linear

If $\phi$ is linear, then

$$ c^{l+1} = c^l . $$
```

```{prf:proof}
Insert.
```

```{code-cell} ipython3
:tags: [hide-input]
:mystnb:
:  figure:
:    name: fig-curve
:    caption: |
:      The finding: $\phi$ saturates.
:  image:
:    alt: A curve that saturates.
tanh = activations.get("tanh")
x = np.linspace(-3, 3, 50)
fig, ax = figures.figure(width=3.5)
lines = ax.plot(x, tanh(x))
fig
```

```{code-cell} ipython3
def draw(gain):
    fig, ax = figures.figure(width=3.5)
    ax.plot(x, tanh(gain * x))
    return fig

figures.explorer(draw, {"gain": np.linspace(0.5, 2, 4)}, label="gain g")
```

```{code-cell} ipython3
slope = tanh(1e-6) / 1e-6
claim("mini.tanh", "tanh has slope one", theory=1.0, measured=slope, tolerance=1e-9, source="poole2016exponential")
```

<!-- a comment -->

```{code-cell} ipython3
:tags: [remove-cell]
glue("mini-xi", 16.1234)
needed = slope
```

The depth is {glue:text}`mini-xi:.1f` layers.

```{list-table} The phases
:name: tab-phases
:header-rows: 1

* - phase
  - condition
  - *what* happens
* - ordered
  - $|\chi_1| < 1$
  - see {ref}`ex-one` | or `a|b`
* - chaotic
  - $\chi_1 > 1$
  - **diverges**
```

1. first
   - nested

     with a second paragraph
2. second

   ```python
   not_a_cell = 1
   ```

::::{grid} 1 2 2 2
:::{grid-item-card} First card
:link: order-and-chaos
:link-type: ref
What it shows.
:::
:::{grid-item-card} Second card
Its text.
:::
::::

```{dropdown} A hint
Think.
```

```{figure} ../_static/logo.svg
:alt: The logo

Two layers.
```

A footnote[^one].

[^one]: Its text.

## Exercises

```{exercise} Doubling
:label: ex-one

Double $x$.
```

```{solution-start} ex-one
:class: dropdown
```

(in-solution)=
Like SECRET this.

```{code-cell} ipython3
SECRET = 2 * x
assert np.allclose(SECRET, x + x)
```

```{solution-end}
```

```{exercise}
:label: ex-two
Triple it.
```

```{solution} ex-two
:class: dropdown
SECRET again.
```

(the-end)=
## Summary

See {ref}`there <in-solution>`, and {ref}`the end <the-end>`.

```{code-cell} ipython3
print(f"slope {needed:.6f}")
```

See [the ledger](#ledger).
"""
)

PAGES = {
    "book/references.bib": """@article{poole2016exponential, author = {Poole, Ben and Lahiri, S. and Raghu, M.},
  title = {Exponential expressivity}, journal = {NIPS}, year = {2016}}
""",
    "book/glossary.md": "# Glossary\n\n```{glossary}\nedge of chaos\n  Where things happen.\n```\n",
    "book/bibliography.md": "# Bibliography\n\n```{bibliography}\n```\n",
    "_toc.yml": """format: jb-book
root: book/index
parts:
  - caption: Mini
    numbered: true
    chapters:
      - file: book/mini/layers-as-time
      - file: book/mini/order-and-chaos
  - caption: Back
    chapters:
      - {file: book/ledger}
      - {file: book/glossary}
      - {file: book/bibliography}
      - {file: book/about}
""",
}


GIT = shutil.which("git")


def git(root, *arguments):
    if GIT is None:
        pytest.skip("git is not installed")
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    return subprocess.run(["git", "-C", root, *who, *arguments], check=True, capture_output=True, text=True).stdout


def export(root):
    environment = os.environ | {"PYTHONPATH": str(root / "lib")}
    command = [sys.executable, str(ROOT / "tools" / "notebooks.py"), "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The small book with CHAPTER in it, at addresses of its own, built and exported."""
    root = house.make(tmp_path_factory.mktemp("notebooks") / "book")
    for name, text in (PAGES | {f"{NAME}.md": CHAPTER}).items():
        (root / name).write_text(text, "utf8")
    project = (root / "pyproject.toml").read_text("utf8")
    project = re.sub(r'^Homepage = ".*"', f'Homepage = "{SITE}"', project, flags=re.M)
    project = re.sub(r'^Repository = ".*"', f'Repository = "{REPOSITORY}"', project, flags=re.M)
    (root / "pyproject.toml").write_text(project, "utf8")
    (root / ".gitignore").write_text("_build/\n__pycache__/\n")
    if GIT:
        git(root, "init", "-q")
    run = house.build(root)
    assert run.returncode == 0, run.stdout + run.stderr
    if GIT:
        git(root, "add", "-A")
        git(root, "commit", "-qm", "made after the build: the export has to know it")
    run = export(root)
    assert run.returncode == 0, run.stdout + run.stderr
    return root


def read(book, variant=""):
    return nbformat.read(book / "_build" / "notebooks" / variant / f"{NAME}.ipynb", as_version=4)


def markdown(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


# Reading -------------------------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_page(book):
    page = (book / "_build" / "html" / f"{NAME}.html").read_text("utf8")
    text = markdown(read(book))
    assert re.findall(r'class="eqno">\((.*?)\)', page) == re.findall(r"\\tag\{(.*?)\}", text) == ["1.1", "1.2"]
    numbers = re.findall(r'class="caption-number">([\w.]+ [\d.]+?) ?</span>', page)
    assert {"Fig. 1.1", "Fig. 1.2", "Theorem 1.1", "Table 1.1", "Exercise 1.1", "Exercise 1.2"} <= set(numbers)
    assert all(re.search(rf"(\*\*|# ){re.escape(number)}", text) for number in numbers)
    for reference in ("Fig. 1.1", "(1.1)", "Theorem 1.1", "Exercise 1.1", "Table 1.1", "edge of chaos"):
        assert f"[{reference}](" in text
    assert [line for line in text.split("\n") if line.startswith("#")] == [
        "# 1. A chapter with everything",
        "## 1.1. Set-up",
        "## 1.2. Exercises",
        "### Exercise 1.1 (Doubling)",
        "#### Solution of exercise 1.1",
        "### Exercise 1.2",
        "#### Solution of exercise 1.2",
        "## 1.3. Summary",
    ]


def test_values_macros_and_citations_are_resolved(book):
    text = markdown(read(book))
    assert "The depth is 16.1 layers." in text
    assert r"$\mathbb{E}[x] = 0$ in $\mathbb{R}^n$" in text
    assert not re.search(r"\\[ER](?![A-Za-z])", text)
    assert f"[Poole *et al.*, 2016]({SITE}book/bibliography.html#cite-poole2016exponential)" in text
    assert r"A cost of \$5 for 3 \* 4 stars, snake_case, `inline code`, *emphasis* and a second line." in text
    assert "1 checked claim" in text and "You need Gaussian integrals." in text


def test_links_to_the_site_are_absolute_and_lead_to_what_is_there(book):
    """Every link to the published site has its page, and every anchor an element of that name."""
    links = [
        link
        for variant in ("", "without-solutions")
        for link in re.findall(r"\]\((.*?)\)", markdown(read(book, variant)))
    ]
    assert "https://example.org/x_%28y%29" in links
    ours = [link.removeprefix(SITE).partition("#") for link in links if link.startswith(SITE)]
    assert len(ours) > 8
    for page, _, anchor in ours:
        path = book / "_build" / "html" / (page or "index.html")
        assert path.is_file(), page
        assert not anchor or f'id="{anchor}"' in path.read_text("utf8"), f"{page}#{anchor}"
    anchors = {anchor for _, _, anchor in ours}
    assert {"claim-mini-tanh", "cite-poole2016exponential", "term-edge-of-chaos"} <= anchors
    assert not {"thm-linear", "fig-curve", "equation-eq-map", "ex-one"} & anchors


@pytest.mark.parametrize("variant", ["", "without-solutions"])
def test_links_to_the_chapter_itself_stay_in_the_notebook(book, variant):
    text = markdown(read(book, variant))
    inside, anchors = set(re.findall(r"\]\(#(.*?)\)", text)), re.findall(r'<a id="(.*?)"></a>', text)
    assert inside == set(anchors) and len(anchors) == len(inside)  # and there is no anchor that nobody needs
    whole = {"thm-linear", "fig-curve", "equation-eq-map", "ex-one", "tab-phases", "the-end", "in-solution"}
    assert inside == (whole - {"in-solution"} if variant else whole)
    assert f"[there]({f'{SITE}{NAME}.html' if variant else ''}#in-solution)" in text  # left out: it is on the site
    assert '<a id="ex-one"></a>\n\n### Exercise 1.1 (Doubling)' in text
    assert '<a id="equation-eq-map"></a>\n\n$$\nc^{l+1}' in text
    assert '<a id="fig-curve"></a>**Fig. 1.1**' in text and '<a id="thm-linear"></a>\n\n> **Theorem 1.1' in text


def test_structure_survives_a_markdown_reader(book):
    """Read by another parser, the cells have the tables, lists, quotations and blocks of the chapter."""
    cells = read(book).cells
    page = "".join(MARKDOWN.render(cell.source) for cell in cells if cell.cell_type == "markdown")
    (table,) = re.findall(r"<table>.*?</table>", page, flags=re.S)
    assert re.findall(r"<th>(.*?)</th>", table) == ["phase", "condition", "<em>what</em> happens"]
    assert [len(re.findall("<td", row)) for row in table.split("<tr>")[2:]] == [3, 3]
    assert "<code>a|b</code>" in table and r"$\vert \chi_1\vert" in table
    assert re.search(r"<ol>\s*<li>.*<ul>\s*<li>.*with a second paragraph.*</ul>.*<pre>.*not_a_cell.*</ol>", page, re.S)
    quotes = [re.sub("<.*?>", "", quote).strip() for quote in re.findall(r"<blockquote>(.*?)</blockquote>", page, re.S)]
    starts = ["After this chapter you can", "Note", "Theorem 1.1 (Linear case).", "First card", "Second card"]
    assert len(quotes) == len(starts) and all(q.startswith(s) for q, s in zip(quotes, starts, strict=True))
    assert "$$a = b$$" in quotes[1] and "$$c^{l+1} = c^l .$$" in quotes[2]
    assert re.search(r"<em>Proof.</em> Insert\.", page)
    assert f'<img src="{SITE}_images/logo.svg" alt="The logo"' in page
    assert "<summary>A hint</summary>" in page


def test_caption_stands_under_the_cell_that_draws(book):
    cells = read(book).cells
    (drawing,) = [
        k
        for k, cell in enumerate(cells)
        if cell.cell_type == "code" and "A curve" not in cell.source and "lines =" in cell.source
    ]
    assert cells[drawing + 1].source == r'<a id="fig-curve"></a>**Fig. 1.1** The finding: $\phi$ saturates.'


def test_code_is_that_of_the_chapter_and_has_no_outputs(book):
    """Hidden inputs and cells that the page leaves out are there as well, in their order."""
    source = [cell.source for cell in records.read_notebook(str(book / f"{NAME}.md")).cells if cell.cell_type == "code"]
    notebook = read(book)
    assert code(notebook)[1:] == source
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    assert notebook.metadata.kernelspec.name == "python3"
    nbformat.validate(notebook)


def test_without_solutions_there_is_no_trace_of_them(book):
    whole, bare = read(book), read(book, "without-solutions")
    assert "SECRET" in markdown(whole) and "SECRET" in "".join(code(whole))
    assert "SECRET" not in str(bare) and "Solution of" not in str(bare)
    assert len(code(bare)) == len(code(whole)) - 1
    for kept in ("### Exercise 1.1 (Doubling)\n\nDouble $x$.", "### Exercise 1.2\n\nTriple it.", "## 1.3. Summary"):
        assert kept in markdown(bare)


def test_export_is_reproducible(book):
    files = sorted((book / "_build" / "notebooks").rglob("*.ipynb"))
    assert len(files) == 4
    before = [file.read_bytes() for file in files]
    written, problems = notebooks.export(book)
    assert sorted(written) == files and problems == []
    assert before == [file.read_bytes() for file in files]
    assert [cell.id for cell in read(book).cells] == [f"cell-{k}" for k in range(len(read(book).cells))]


LEFT = [
    ("markdown", "```{note}\nText\n```", "a directive"),
    ("markdown", "> :::{note}", "a directive"),
    ("markdown", "text\n:::", "a colon fence"),
    ("markdown", "see {ref}`ledger`", "a role"),
    ("markdown", "see {cite:p}`key`", "a role"),
    ("markdown", "(order-and-chaos)=\n", "a label"),
    ("markdown", "see [this](../x.md)", "a relative link"),
    ("markdown", "see [this](#anchor)", "a relative link"),
    ("markdown", '<img src="x.png">', "a relative link"),
    ("markdown", "$e^{{{glue:text}`a:.2f`}}$", "a role"),
    ("code", "from myst_nb import glue", "a tool of the build"),
]


@pytest.mark.parametrize(("kind", "text", "name"), LEFT)
def test_leftovers_are_found(kind, text, name):
    new = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}[kind]
    notebook = nbformat.v4.new_notebook(cells=[new(text)])
    assert any(f": {name} was left over: " in message for message in notebook_writer.leftovers(notebook))


def test_what_only_looks_like_a_leftover_passes():
    text = r"$f[x](t)$ and $\{a\}$, [link](https://x.example/y.md), ``` {x} ``` and a set {a}."
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("x = {'a': [1](0)} # ](b)")]
    assert notebook_writer.leftovers(nbformat.v4.new_notebook(cells=cells)) == []


def test_leftover_or_missing_notebook_fails_the_export(book):
    built = book / "_build" / "html" / "notebooks" / f"{NAME}.ipynb"
    whole = built.read_text("utf8")
    try:
        built.write_text(whole.replace("Triple it.", "Triple {ref}`it`."), "utf8")
        run = export(book)
        assert run.returncode == 1
        assert re.search(rf"{NAME}\.ipynb, cell-\d+: a role was left over: {{ref}}`it`", run.stderr)
        built.unlink()
        assert notebooks.export(book)[1] == [f"{NAME}.ipynb is missing: build the book first (make book)"]
    finally:
        built.write_text(whole, "utf8")
        assert notebooks.export(book)[1] == []


# Markdown of single nodes --------------------------------------------------------------------------------------------


def writer():
    config = SimpleNamespace(
        html_baseurl=SITE, mathjax3_config={"tex": {"macros": {"R": r"\mathbb{R}"}}}, numfig_format={}
    )
    chapter = str(ROOT / "book" / "index.md")
    env = SimpleNamespace(toc_fignumbers={}, toc_secnumbers={}, images={}, doc2path=lambda name: chapter)
    builder = SimpleNamespace(get_target_uri=lambda name: f"{name}.html", imagedir="_images")
    return notebook_writer.NotebookWriter(
        SimpleNamespace(config=config, env=env, builder=builder), NAME, solutions=True
    )


@given(st.text(st.sampled_from(r"ab1_*`$<>[]()#-+.|~&;:!\{} ") | st.characters(categories=["L", "N"]), min_size=1))
@example("1. no list")
@example("# no heading")
@example("a_b_c _d_ __e__")
@example("&amp; <b>")
def test_text_says_the_same_after_markdown(text):
    """What the source says as text is text again for a Markdown reader, whatever signs it has."""
    text = " ".join(re.sub(r"\](?=[(:\[])", "", text).split()) or "x"  # links are nodes: text never makes one
    html = MARKDOWN.render(writer().block(nodes.paragraph("", text))).strip()
    assert html.startswith("<p>") and html.endswith("</p>"), html
    plain = html[3:-4].replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    assert plain == text


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        (r"x \in \R", r"x \in \mathbb{R}"),
        (r"x^\R", r"x^{\mathbb{R}}"),
        (r"\Re \Real", r"\Re \Real"),
    ],
)
def test_macros_are_written_out(tex, expected):
    assert writer().span(nodes.math("", tex)) == f"${expected}$"


def test_lines_of_a_formula_are_aligned_as_on_the_page():
    block = nodes.math_block("", "a &= b \\\\\n\nc &= d")
    assert writer().block(block) == "$$\n\\begin{split}\na &= b \\\\\nc &= d\n\\end{split}\n$$"
    block = nodes.math_block("", r"\begin{pmatrix} a \\ b \end{pmatrix}")
    assert "split" not in writer().block(block)


def test_what_has_no_form_in_a_notebook_is_a_warning(caplog):
    """Raw HTML, for one: with every warning an error, the build fails and names the place."""
    import logging

    with caplog.at_level(logging.WARNING, "sphinx.notebook_writer"):
        assert writer().block(nodes.raw("", "<canvas>", format="html")) == ""
    assert "raw cannot be written into a notebook" in caplog.text


# Running -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A folder with a kernel whose library comes from the wheel; other packages are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip, options = [sys.executable, "-m", "pip"], ["-q", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", *options, "--no-build-isolation", "-w", folder, ROOT], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    packages = next((folder / "venv").glob("lib/python*/site-packages"))
    wheel = next(folder.glob("deepdynamics-*.whl"))
    subprocess.run([*pip, "install", *options, "--target", packages, wheel], check=True)
    (packages / "borrowed.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")))
    spec = folder / "kernels" / "wheel" / "kernel.json"
    spec.parent.mkdir(parents=True)
    python = str(folder / "venv" / "bin" / "python")
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "wheel", "language": "python"}))
    found = subprocess.run(
        [python, "-c", "import deepdynamics; print(deepdynamics.__file__)"], capture_output=True, text=True, cwd="/"
    )
    assert found.stdout.startswith(str(packages)), found.stderr
    return folder


def execute(path, kernel, folder, timeout=120):
    """Run a notebook in an empty folder, on one thread, without a network, with the library of the wheel."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="wheel", resources={"metadata": {"path": str(folder)}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(kernel))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        results = {"DEEPDYNAMICS_RESULTS": str(ROOT / "book" / "results")}  # they have no network to fetch them by
        client.execute(env=environment | results | {"OMP_NUM_THREADS": "1"})
    return notebook


def test_both_variants_run_from_top_to_bottom_in_a_fresh_kernel(book, kernel, tmp_path):
    paths = [book / "_build" / "notebooks" / variant / f"{NAME}.ipynb" for variant in ("", "without-solutions")]
    with ThreadPoolExecutor(2) as pool:
        for notebook in pool.map(lambda path: execute(path, kernel, tmp_path), paths):
            outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
            assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
            assert "Installing" not in str(outputs)
            kinds = Counter(kind for o in outputs for kind in o.get("data", {}))
            assert kinds["image/png"] >= 1 and kinds["application/vnd.jupyter.widget-view+json"] == 1
            assert "mini.tanh" in str([o.metadata for o in outputs if "metadata" in o])
            assert outputs[-1].text == "slope 1.000000\n"


def test_install_cell_does_nothing_where_the_library_is(book, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("it called a program"))
    exec(code(read(book))[0], {})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("variant", ["", "without-solutions"])
def test_install_cell_installs_the_library_of_the_same_commit(book, variant, monkeypatch, capsys):
    commit, calls = git(book, "rev-parse", "HEAD").strip(), []
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: calls.append((a, k)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    notebook = read(book, variant)
    exec(code(notebook)[0], {})
    source = f"git+{REPOSITORY}@{commit}"
    assert calls == [(([sys.executable, "-m", "pip", "install", "--quiet", source],), {"check": True})]
    assert not re.search("torch|numpy|matplotlib|ipywidgets|upgrade|--force", " ".join(calls[0][0][0]))
    assert "Installing deepdynamics" in capsys.readouterr().out
    assert [cell.cell_type for cell in notebook.cells[:2]] == ["markdown", "code"]


@pytest.fixture
def archive(tmp_path):
    """A book as it comes out of a downloaded archive."""
    (tmp_path / "pyproject.toml").write_text(f'[project.urls]\nRepository = "{REPOSITORY}"\n')
    return tmp_path


def unpinned(cell):
    compile(cell, "cell", "exec")
    return f'source = "git+{REPOSITORY}"\n' in cell and "newest version" in cell


def test_install_cell_outside_git_takes_the_default_branch_and_says_so(archive):
    assert unpinned(notebook_writer.install_cell(archive))


def test_install_cell_without_git(archive, monkeypatch):
    monkeypatch.setenv("PATH", str(archive / "no-programs"))
    assert unpinned(notebook_writer.install_cell(archive))


def test_install_cell_does_not_take_the_commit_of_a_repository_around_the_archive(archive, tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "inside").mkdir()
    shutil.copy(archive / "pyproject.toml", tmp_path / "inside")
    git(tmp_path, "add", ".")
    assert unpinned(notebook_writer.install_cell(tmp_path))  # no commit yet
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "a")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    cell = notebook_writer.install_cell(tmp_path)
    assert f'source = "git+{REPOSITORY}@{commit}"\n' in cell and "newest" not in cell
    assert unpinned(notebook_writer.install_cell(tmp_path / "inside"))


# Buttons -------------------------------------------------------------------------------------------------------------


def test_buttons_of_the_page_open_and_download_the_notebooks(book):
    page = book / "_build" / "html" / f"{NAME}.html"
    links = re.findall(r'<a href="([^"]+)"[^>]*?class="btn', page.read_text("utf8"), flags=re.S)
    assert f"https://mybinder.org/v2/gh/the-owner/the-book/main?urlpath=lab/tree/{NAME}.md" in links
    assert f"https://colab.research.google.com/github/the-owner/the-book/blob/notebooks/{NAME}.ipynb" in links
    downloads = [link for link in links if link.endswith(".ipynb") and "://" not in link]
    assert [link.removeprefix("../../") for link in downloads] == [
        f"notebooks/{v}{NAME}.ipynb" for v in ("", "without-solutions/")
    ]
    for link in downloads:
        assert (page.parent / link).resolve().is_file()
    assert not list((book / "_build" / "html" / "_sources").rglob("*.ipynb"))  # the theme's, with directives in it
    plain = (book / "_build" / "html" / "book" / "glossary.html").read_text("utf8")
    assert "colab" not in plain and ".ipynb" not in plain


# The book itself -----------------------------------------------------------------------------------------------------

CHAPTERS = records.notebooks(ROOT)


def exported(chapter, variant):
    path = ROOT / "_build" / "html" / "notebooks" / variant / f"{chapter}.ipynb"
    if not path.is_file():
        pytest.skip("not built yet: make book")
    return path


@pytest.mark.parametrize("variant", ["", "without-solutions"])
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_of_the_book_is_complete_and_has_no_leftovers(chapter, variant):
    notebook = nbformat.read(exported(chapter, variant), as_version=4)
    left = notebook_writer.leftovers(notebook)
    assert not left, f"the notebook of {chapter} cannot show all of {chapter}.md: {'; '.join(left)}"
    solved = "Solution of exercise" in markdown(notebook)
    source = [
        cell.source for cell in records.read_notebook(str(ROOT / f"{chapter}.md")).cells if cell.cell_type == "code"
    ]
    if variant == "":
        assert solved, f"{chapter}.md needs an exercise with its solution: its notebook has none"
        assert code(notebook)[1:] == source, f"the notebook of {chapter} has not the code cells of {chapter}.md"
    else:
        assert not solved, f"the notebook of {chapter} without solutions has one"
        assert set(code(notebook)[1:]) < set(source), (
            f"{chapter}.md needs a solution with a code cell: the notebook without solutions leaves out no code"
        )


TODAYS = list(zip(rotation.todays(ROOT, CHAPTERS, 2), ("", "without-solutions"), strict=True))
RUNS = [(chapter, variant) for chapter in CHAPTERS for variant in ("", "without-solutions")]


@pytest.mark.parametrize(
    ("chapter", "variant"), [run if run in TODAYS else pytest.param(*run, marks=pytest.mark.long) for run in RUNS]
)
def test_chapter_of_the_book_runs(chapter, variant, kernel, tmp_path):
    """In an empty folder, with the library of the wheel and the data that are here: two in turn, all in check-all."""
    notebook = execute(exported(chapter, variant), kernel, tmp_path, timeout=600)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.get("name") == "stderr"]
