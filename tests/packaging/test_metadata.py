"""One version and one set of facts in all files that state them."""

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_everywhere_the_same() -> None:
    number, day = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", text("CHANGELOG.md"), re.MULTILINE)[0]
    assert PROJECT["version"] == number
    assert f"\nversion: {number}\n" in text("CITATION.cff")
    assert f"\ndate-released: {day}\n" in text("CITATION.cff")


def test_the_changelog_is_in_order() -> None:
    releases = re.split(r"^## ", text("CHANGELOG.md"), flags=re.MULTILINE)[1:]
    assert releases[0].startswith("[Unreleased]")
    for release in releases:
        groups = re.findall(r"^### (\w+)$", release, re.MULTILINE)
        assert groups == [group for group in GROUPS if group in groups]


def test_the_authors_are_those_of_the_licence() -> None:
    (author,) = PROJECT["authors"]
    assert f"Copyright (c) 2026 {author['name']}" in text("LICENSE")
    assert f"- name: {author['name']}" in text("CITATION.cff")
    assert metadata("cumel")["License-Expression"] == "MIT"


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", text(name))
    assert [link for link in links if not link.startswith("https://") and not (ROOT / link).exists()] == []


def test_commands_of_contributors_are_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", text("Makefile"), re.MULTILINE))
    named = re.findall(r"`?(?:\$ )?make ([\w-]+)", text("CONTRIBUTING.md"))
    assert len(named) > 5
    assert set(named) <= targets
    paths = re.findall(r"`(?:\.venv/bin/python )?((?:tests|bench|kernels)/[\w/.]+)", text("CONTRIBUTING.md"))
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_ci_runs_versions_that_the_package_declares() -> None:
    (versions,) = re.findall(r"python: \[(.*)\]", text(".github/workflows/ci.yml"))
    declared = " ".join(PROJECT["classifiers"])
    assert all(f"Python :: {version}" in declared for version in re.findall(r"[\d.]+", versions))
