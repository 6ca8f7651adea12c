"""The bill of materials of the runner's image."""

import tomllib
from collections.abc import Iterable
from email.parser import HeaderParser
from pathlib import Path

from sbom import Component, component, system_components, write_sbom


def write_runner_sbom(rootfs: Path, context: Path, copied: Iterable[Path], packages: Path) -> None:
    """Lists the runner, its packages, and the base's packages that the copied files belong to."""
    project = tomllib.loads((context / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    runner = component("application", f"pkg:pypi/{name}@{version}", name, version, project["license"])
    runner["description"] = project["description"]
    write_sbom(rootfs, runner, [*python_components(packages), *system_components(rootfs, copied)])


def python_components(packages: Path) -> list[Component]:
    """One component for each installed wheel."""
    components = []
    for folder in packages.glob("*.dist-info"):
        metadata = HeaderParser().parsestr((folder / "METADATA").read_text())
        name, version = metadata["Name"].lower(), metadata["Version"]
        stated = metadata.get("License-Expression") or metadata.get("License")
        purl = f"pkg:pypi/{name}@{version}"
        components.append(component("library", purl, name, version, stated))
    return components
