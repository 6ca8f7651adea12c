"""Assembles the root folder of the control plane's image. Runs in the build stage, as root, without a network.

Usage: assemble.py CONTEXT ROOTFS, where CONTEXT has `app/` (the sources and their production packages), `node` (the
program) and this folder as `image/`. The result depends on the base image and the context alone: every time stamp is
the epoch.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from rootfs import Origins, copy_shared_libraries, lay_out_system_files, strip_rights_and_times
from sbom import Component, component, system_components, write_sbom

APP = "usr/lib/wormhole"
NODE = "usr/bin/node"
WORMHOLE = "usr/bin/wormhole"
# Without a shell, the kernel starts the interpreter.
LAUNCHER = f"#!/{NODE}\nimport '/{APP}/controller/cli/main.ts';\n"
COMPONENTS = (
    *("controller", "cluster-runs", "machine-runs"),
    *("gateway", "cluster-door", "folder-door"),
    *("egress-proxy", "watchdog"),
    "../telemetry/span-export",
)


def main(context: Path, rootfs: Path) -> None:
    """Fills ROOTFS, which must not exist yet, and fails if the program does not run in it."""
    (rootfs / "usr/bin").mkdir(parents=True)
    shutil.copyfile(context / "node", rootfs / NODE)
    (rootfs / NODE).chmod(0o755)
    (rootfs / WORMHOLE).write_text(LAUNCHER)
    (rootfs / WORMHOLE).chmod(0o755)
    shutil.copytree(context / "app", rootfs / APP)
    origins = Origins()
    copy_shared_libraries(rootfs, origins, [rootfs / NODE])
    lay_out_system_files(rootfs, origins, "wormhole")
    write_sbom(
        rootfs,
        control_plane(rootfs / APP),
        [node(context), *packages(rootfs / APP), *system_components(rootfs, origins.files)],
    )
    strip_rights_and_times(rootfs, frozenset({NODE, WORMHOLE}))
    check(rootfs)


def control_plane(app: Path) -> Component:
    """The program itself."""
    manifest = json.loads((app / "package.json").read_text())
    version = manifest["version"]
    name = "wormhole-control-plane"
    return component("application", f"pkg:generic/{name}@{version}", name, version, manifest["license"])


def node(context: Path) -> Component:
    """The Node that no package of the base brought."""
    version = output_of(str(context / "node"), "--version").strip().removeprefix("v")
    return component("application", f"pkg:generic/node@{version}", "node", version, "MIT")


def packages(app: Path) -> list[Component]:
    """One component for each version of each npm package."""
    found: dict[str, Component] = {}
    for folder in package_folders(app / "node_modules"):
        manifest = json.loads((folder / "package.json").read_text())
        name, version, stated = manifest["name"], manifest["version"], manifest.get("license")
        purl = f"pkg:npm/{name.replace('@', '%40')}@{version}"
        found[purl] = component("library", purl, name, version, stated if isinstance(stated, str) else None)
    return list(found.values())


def package_folders(node_modules: Path) -> Iterator[Path]:
    """All installed packages, those within packages too."""
    for folder in subfolders(node_modules):
        members = subfolders(folder) if folder.name.startswith("@") else [folder]
        for member in members:
            yield member
            if (member / "node_modules").is_dir():
                yield from package_folders(member / "node_modules")


def subfolders(folder: Path) -> Iterable[Path]:
    """The visible folders in a folder."""
    return (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def check(rootfs: Path) -> None:
    """Starts the program in the finished root folder, and loads what it loads only when a component runs."""

    def enter() -> None:
        os.chroot(rootfs)
        os.chdir("/")

    imports = [f"await import('/{APP}/controller/control-plane/{name}.ts');" for name in COMPONENTS]
    for command in (f"/{WORMHOLE}", "--help"), (f"/{NODE}", "--input-type=module", "--eval", "\n".join(imports)):
        subprocess.run(  # noqa: S603
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            preexec_fn=enter,
            env={},
        )


def output_of(*command: str) -> str:
    """What a program prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
