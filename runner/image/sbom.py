"""An image's bill of materials: CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/)."""

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

Component = dict[str, Any]


def write_sbom(rootfs: Path, application: Component, components: Iterable[Component]) -> None:
    """Writes what APPLICATION, an entry of :func:`component`, is made of into the image."""
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": application},
        "components": sorted(components, key=lambda entry: entry["bom-ref"]),
    }
    target = rootfs / f"usr/share/sbom/{application['name']}.cdx.json"
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(bom, indent=1) + "\n")


def system_components(rootfs: Path, copied: Iterable[Path]) -> list[Component]:
    """One component for each Debian package, and one for a Python that no package brought."""
    files = set(copied)
    owners = debian_owners(files)
    release = platform.freedesktop_os_release()
    distribution = f"{release['ID']}-{release.get('VERSION_ID', '')}".rstrip("-")
    components: list[Component] = [
        {
            "type": "operating-system",
            "bom-ref": distribution,
            "name": release["ID"],
            "version": release.get("VERSION_ID", ""),
        }
    ]
    for package in sorted(set(owners.values())):
        version, architecture = dpkg_query("-W", "-f=${Version}\t${Architecture}", package).split("\t")
        name = package.split(":")[0]
        purl = f"pkg:deb/{release['ID']}/{name}@{version.replace('+', '%2B').replace(':', '%3A')}"
        purl += f"?arch={architecture}&distro={distribution}"
        notice = Path("/usr/share/doc", name, "copyright")
        stated = None
        if notice.is_file():
            # The licences ask that their text comes along.
            target = rootfs / notice.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(notice, target)
            stated = stated_licenses(notice.read_text(errors="replace"))
        components.append(component("library", purl, name, version, stated))
    if any(path.name.startswith("python3") for path in files - owners.keys()):
        version = platform.python_version()
        components.append(component("application", f"pkg:generic/python@{version}", "python", version, "Python-2.0"))
    return components


def debian_owners(files: set[Path]) -> dict[Path, str]:
    """Which package each file belongs to, for those that belong to one."""
    if shutil.which("dpkg-query") is None:
        return {}
    names = {file.name for file in files}
    owners = {}
    for listing in Path("/var/lib/dpkg/info").glob("*.list"):
        for path in map(Path, listing.read_text().splitlines()):
            # Packages still say /lib for what lies in /usr/lib, so the folder's links are resolved.
            if path.name in names and (real := path.parent.resolve() / path.name) in files:
                owners[real] = listing.stem
    # Made by the package's own script from the certificates that it brings.
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates in files and Path("/var/lib/dpkg/info/ca-certificates.list").exists():
        owners[certificates] = "ca-certificates"
    return owners


def dpkg_query(*args: str) -> str:
    """What dpkg-query prints."""
    return subprocess.run(["dpkg-query", *args], check=True, capture_output=True, text=True).stdout  # noqa: S603, S607


def stated_licenses(notice: str) -> str | None:
    """The licences that a machine-readable copyright file names (DEP 5), in alphabetical order."""
    header = HeaderParser().parsestr(notice)
    if "Format" not in header:
        return None
    names = {name.strip() for name in re.findall(r"^License: *(\S.*)$", notice, re.MULTILINE)}
    return " AND ".join(sorted(names)) or None


def component(kind: str, purl: str, name: str, version: str, stated: str | None) -> Component:
    """One entry of the list."""
    entry: Component = {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if stated:
        entry["licenses"] = licenses(stated)
    return entry


def licenses(stated: str) -> list[Component]:
    """A licence in its own words: what packages state is seldom a valid SPDX expression."""
    return [{"license": {"name": stated.splitlines()[0][:200]}}]
