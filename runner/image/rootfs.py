"""What every image's root folder is made of: shared libraries, accounts, and no rights but reading."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

USER_ID = 65532


class Origins:
    """Which file of the base each system file was copied from, for the bill of materials."""

    def __init__(self) -> None:
        self.files: list[Path] = []

    def copy(self, source: Path, target: Path) -> None:
        """Copies one file; its links are followed."""
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        self.files.append(source.resolve())


def copy_shared_libraries(rootfs: Path, origins: Origins, binaries: Iterable[Path]) -> None:
    """Copies what the loader would load for programs and extension modules, and the loader itself."""
    for link in ("lib", "lib64", "lib32"):
        if Path("/", link).is_symlink():
            (rootfs / link).symlink_to(Path("/", link).readlink())
    listing = subprocess.run(  # noqa: S603
        ["/usr/bin/ldd", *map(str, binaries)], check=True, capture_output=True, text=True
    ).stdout
    if "not found" in listing:
        raise SystemExit(f"a shared library is missing in the base image:\n{listing}")
    for name in sorted(set(re.findall(r"(/\S+) \(0x", listing))):
        library = Path(name)
        # Links in the folder are resolved (/lib is /usr/lib), the name itself stays: it is what the loader asks for.
        origins.copy(library, rootfs / library.parent.resolve().relative_to("/") / library.name)
    folders = sorted({str(Path(name).parent.resolve()) for name in re.findall(r"=> (/\S+) \(0x", listing)})
    (rootfs / "etc").mkdir()
    (rootfs / "etc/ld.so.conf").write_text("".join(f"{folder}\n" for folder in folders))
    subprocess.run(["/sbin/ldconfig", "-r", str(rootfs)], check=True)  # noqa: S603


def lay_out_system_files(rootfs: Path, origins: Origins, user: str) -> None:
    """Adds the accounts, and the folders that a container mounts over."""
    etc = rootfs / "etc"
    (etc / "passwd").write_text(f"root:x:0:0:root:/:/nonexistent\n{user}:x:{USER_ID}:{USER_ID}:{user}:/:/nonexistent\n")
    (etc / "group").write_text(f"root:x:0:\n{user}:x:{USER_ID}:\n")
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    origins.copy(Path("/etc/os-release"), etc / "os-release")
    # No /tmp: runc 1.1 gives a tmpfs the mode of the folder that it covers, whatever mode was asked for.
    for folder in ("dev", "proc", "run/wormhole", "sys"):
        (rootfs / folder).mkdir(parents=True)


def strip_rights_and_times(rootfs: Path, programs: frozenset[str]) -> None:
    """Leaves everything to root, read-only for everybody else, with no special bit and no time.

    PROGRAMS: the paths of what may be executed, besides libraries and the loader.
    """
    for path in [rootfs, *rootfs.rglob("*")]:
        os.lchown(path, 0, 0)
        if not path.is_symlink():
            name = str(path.relative_to(rootfs))
            executable = path.is_dir() or name in programs or re.search(r"\.so(\.\d+)*$", name)
            path.chmod(0o755 if executable else 0o644)
        os.utime(path, (0, 0), follow_symlinks=False)


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, links among them, in no particular order."""
    return (path for path in folder.rglob("*") if path.is_file())
