"""Explorers with the version of ipywidgets that Colab ships, in an environment of its own."""

import subprocess
import sys
import textwrap

import pytest

VERSIONS = ("ipywidgets==7.7.1", "ipython-genutils==0.2.0")
PROGRAM = """
    import sys
    from types import SimpleNamespace
    import IPython, ipywidgets
    from matplotlib.figure import Figure
    from deepdynamics import figures

    IPython.get_ipython = lambda: SimpleNamespace(kernel=None)
    if sys.argv[1] == "colab":
        sys.modules["google.colab"] = SimpleNamespace()
    shown = figures.explorer(lambda power: Figure((2, 1)), {"power": [1, 2]}, label="p")
    bundle = shown._repr_mimebundle_()
    print(ipywidgets.__version__, sorted(bundle), bundle["text/html"].count("<img"))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An environment that borrows the packages of this one, all but ipywidgets."""
    venv = tmp_path_factory.mktemp("colab") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    packages = next(venv.glob("lib/python*/site-packages"))
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--retries", "0", "--target", packages]
    if subprocess.run([*command, *VERSIONS], check=False, capture_output=True).returncode:
        pytest.skip("ipywidgets 7.7.1 cannot be installed without a network")
    borrowed = [path for path in sys.path if path.endswith(("site-packages", "/lib"))]
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    return venv / "bin" / "python"


@pytest.mark.long
@pytest.mark.parametrize("where", ["colab", "a notebook"])
def test_explorers_are_static_with_ipywidgets_7(python, where):
    """In Colab because it is Colab; elsewhere because version 7 shows itself in a way of its own."""
    run = subprocess.run([python, "-c", textwrap.dedent(PROGRAM), where], capture_output=True, text=True, cwd="/")
    assert run.stdout == "7.7.1 ['image/png', 'text/html', 'text/plain'] 2\n", run.stderr
