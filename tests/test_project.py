"""House rules that no other tool checks, over the files that git knows."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIXED = ["gradio", "torch", "tensorflow", "tensorflow-hub", "numpy", "plotly", "scikit-image", "pillow"]
PICKLERS = {"_pickle", "dill", "cloudpickle", "joblib", "shelve"}


@cache
def files(*patterns: str) -> list[Path]:
    """The files of the project, also those not committed yet, that match git's patterns."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    found = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    return sorted({path for path in found if path.is_file()})


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


PACKAGES = files("explorer/*.py", "segmentation/*.py")
PRODUCT = files("explorer/*.py", "segmentation/*.py", "app.py", "tools/*.py", "benchmarks/*.py")


def places_of_one_machine(text: str) -> list[str]:
    """The lines of ``text`` that name a folder beside the project or a home on some machine."""
    beside = re.escape("../" + "shared")
    absolute = r"(?<![\w.~$}/>-])/(?:root|home|Users|mnt|srv)/\w"
    return [line.strip() for line in text.splitlines() if re.search(f"{beside}|{absolute}", line)]


def test_no_file_names_a_place_on_one_machine():
    named = {}
    for path in files():
        if name_of(path) == ".ci/run" or path == Path(__file__) or b"\0" in (data := path.read_bytes())[:8000]:
            continue
        if lines := places_of_one_machine(data.decode("utf-8", "replace")):
            named[name_of(path)] = lines
    assert named == {}


@pytest.mark.parametrize("line", ["data = '../" + "shared/data'", 'open("/home/me/x")', "cd /srv/main", "see /root/a"])
def test_such_places_are_recognised(line):
    assert places_of_one_machine(f"first\n{line}\nlast") == [line]


@pytest.mark.parametrize("line", ["https://host.org/srv/home/x", "./srv/main", "explorer/home/a.py", "/usr/bin/env bash"])
def test_other_places_are_not(line):
    assert places_of_one_machine(line) == []


@pytest.mark.parametrize("path", PACKAGES, ids=name_of)
def test_annotations_are_not_evaluated(path):
    tree = ast.parse(path.read_text("utf-8"))
    named = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    only_a_docstring = all(isinstance(node, ast.Expr) for node in tree.body)
    assert only_a_docstring or "annotations" in [alias.name for node in named for alias in node.names]


def imported(tree: ast.AST) -> set[str]:
    """The packages that a module imports, anywhere in it."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in names}


def unsafe_loads(tree: ast.AST) -> list[int]:
    """The lines that could unpickle: torch.load without weights_only=True, numpy's with allow_pickle."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        torch_load = ast.unparse(node.func) == "torch.load" and given.get("weights_only") != "True"
        if torch_load or given.get("allow_pickle", "False") != "False":
            lines.append(node.lineno)
    return lines


def picklings(tree: ast.AST) -> set[str]:
    """What a module could pickle with. Naming ``pickle.UnpicklingError``, to catch what torch raises, is not pickling."""
    used = {
        f"pickle.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "pickle":
            used |= {f"pickle.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            used |= {f"pickle as {alias.asname}" for alias in node.names if alias.name == "pickle" and alias.asname}
    return (used - {"pickle.UnpicklingError"}) | (imported(tree) & PICKLERS)


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_nothing_is_pickled_or_unpickled(path):
    tree = ast.parse(path.read_text("utf-8"))
    assert picklings(tree) == set()
    assert unsafe_loads(tree) == []


def test_pickling_is_recognised():
    assert picklings(ast.parse("import pickle\ntry: f()\nexcept pickle.UnpicklingError: pass")) == set()
    assert picklings(ast.parse("import pickle\npickle.load(f)")) == {"pickle.load"}
    assert picklings(ast.parse("from pickle import loads, UnpicklingError")) == {"pickle.loads"}
    assert picklings(ast.parse("import os, pickle as p\nfrom joblib.x import y")) == {"pickle as p", "joblib"}
    assert unsafe_loads(ast.parse("torch.load(f)\ntorch.load(f, weights_only=True)\ntorch.load(f, weights_only=False)")) == [
        1,
        3,
    ]
    assert unsafe_loads(ast.parse("np.load(f)\nnp.load(f, allow_pickle=True)\nnp.load(f, allow_pickle=False)")) == [2]


def test_the_app_only_opens_the_page():
    app = ROOT / "app.py"
    assert imported(ast.parse(app.read_text("utf-8"))).isdisjoint({"torch", "tensorflow", "tensorflow_hub"})


def test_requirements_name_what_the_project_stands_on():
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()]
    pins = {re.split(r"[<>=!~]", line)[0].strip(): line for line in lines if line}
    assert set(FIXED) <= set(pins)
    assert [line for line in pins.values() if "<" not in line and "==" not in line] == []
