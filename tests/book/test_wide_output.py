"""Whatever a cell prints, no page is wider than the screen, and what scrolls can be reached by keyboard."""

import browser
import house
import pytest
import site_checks

WIDE = (
    house.SECOND
    + r"""
```{code-cell} ipython3
print("x" * 400)
print("many words " * 60)
"w" * 500
```

```{code-cell} ipython3
class Shown:
    def __init__(self, **kinds):
        self.kinds = {f"text/{kind}": text for kind, text in kinds.items()}
    def _repr_mimebundle_(self, include=None, exclude=None):
        return self.kinds
Shown(html="<table><tr>" + "".join(f"<td>column{i}</td>" for i in range(80)) + "</tr></table>", plain="a table")
```

```{code-cell} ipython3
Shown(html="<pre>" + "y" * 300 + "</pre>", plain="text")
```

```{code-cell} ipython3
Shown(markdown="`" + "y" * 300 + "` " + "z" * 300, plain="text")
```

```{code-cell} ipython3
:tags: [raises-exception]
raise ValueError("z" * 300)
```

```
a block of text in the prose that is wider than a phone, and wider than a desktop as well, since it goes on and on
```
"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = house.make(tmp_path_factory.mktemp("wide") / "book")
    (root / "book" / "mini" / "order-and-chaos.md").write_text(WIDE, "utf8")
    run = house.build(root)
    assert run.returncode == 0, run.stdout + run.stderr
    with browser.served(root / "_build" / "html") as address:
        yield address


@pytest.mark.parametrize("size", browser.SIZES)
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_wide_output(site, size, mode):
    with browser.chromium() as chromium:
        assert site_checks.visit(chromium, site, "book/mini/order-and-chaos.html", size, mode) == []
