"""Assembles the root folder of the runner's image. Runs in the build stage, as root, without a network.

Usage: assemble.py CONTEXT ROOTFS, where CONTEXT is the `runner/` folder with the downloaded `wheels/` in it. The
result depends on the base image and the context alone: every time stamp is the epoch.
"""

import os
import py_compile
import shutil
import site
import ssl
import subprocess
import sys
import sysconfig
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from rootfs import Origins, copy_shared_libraries, files_below, lay_out_system_files, strip_rights_and_times
from runner_sbom import write_runner_sbom

INTERPRETER = "usr/bin/python3"
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"

# Parts of the standard library that a run has no use for: build and test tools, interactive ones, servers and
# clients of other protocols, and what needs libraries of its own (Tcl/Tk, curses, SQLite, Berkeley DB). The second
# block are extension modules.
PRUNED_MODULES = frozenset(
    """
    __hello__ __phello__ _aix_support _bootsubprocess _distutils_system_mod _osx_support _pyrepl aifc
    antigravity asynchat asyncore bdb cProfile cgi cgitb chunk cmd code codeop compileall crypt curses dbm
    distutils doctest ensurepip fileinput ftplib getpass idlelib imaplib imghdr lib2to3 mailbox mailcap
    modulefinder msilib nntplib optparse pdb pipes poplib profile pstats pty pyclbr pydoc pydoc_data rlcompleter
    sched shelve site-packages dist-packages sitecustomize smtpd smtplib sndhdr sqlite3 sunau symtable tabnanny
    telnetlib test this tkinter trace tty turtle turtledemo unittest uu venv wave webbrowser wsgiref xdrlib
    xmlrpc zipapp

    _crypt _ctypes_test _curses _curses_panel _dbm _gdbm _lsprof _sqlite3 _testbuffer _testcapi _testclinic
    _testclinic_limited _testexternalinspection _testimportmultiple _testinternalcapi _testlimitedcapi
    _testmultiphase _testsinglephase _tkinter _xxsubinterpreters _xxtestfuzz audioop nis ossaudiodev readline
    termios xxlimited xxlimited_35 xxsubtype
    """.split()
)


def main(context: Path, rootfs: Path) -> None:
    """Fills ROOTFS, which must not exist yet, and fails if the runner cannot be imported in it."""
    origins = Origins()
    packages = lay_out_python(rootfs, origins)
    install_packages(context, packages)
    extensions = (path for path in files_below(rootfs / "usr/lib") if path.suffix == ".so")
    copy_shared_libraries(rootfs, origins, [rootfs / INTERPRETER, *extensions])
    lay_out_system_files(rootfs, origins, "runner")
    lay_out_certificates(rootfs, origins)
    compile_sources(rootfs)
    write_runner_sbom(rootfs, context, origins.files, packages)
    strip_rights_and_times(rootfs, frozenset({INTERPRETER}))
    check(rootfs)


def lay_out_python(rootfs: Path, origins: Origins) -> Path:
    """Copies interpreter and library below /usr, wherever the base has them. Returns the folder for packages."""
    origins.copy(Path(sys.executable), rootfs / INTERPRETER)
    library = rootfs / "usr/lib" / VERSION
    source = Path(sysconfig.get_path("stdlib"))
    for path in files_below(source):
        parts = path.relative_to(source).parts
        module = parts[-1] if parts[0] == "lib-dynload" else parts[0]
        if path.suffix in {".py", ".so"} and module.split(".")[0] not in PRUNED_MODULES:
            origins.copy(path, library.joinpath(*parts))
    # Debian's interpreter looks for packages under another name than everybody else's.
    debian = any(path.endswith("dist-packages") for path in site.getsitepackages())
    packages = library / ("dist-packages" if debian else "site-packages")
    packages.mkdir()
    return packages


def install_packages(context: Path, packages: Path) -> None:
    """Installs the locked wheels, whose hashes pip checks again, and the runner."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    offline = ["--no-index", "--find-links", str(context / "wheels"), "--require-hashes", "--no-deps"]
    target = ["--target", str(packages), "--no-compile", "--root-user-action", "ignore", "--quiet"]
    subprocess.run([*pip, *offline, *target, "-r", str(context / "requirements.lock")], check=True)  # noqa: S603
    shutil.rmtree(packages / "bin", ignore_errors=True)
    shutil.copytree(context / "src/wormhole_runner", packages / "wormhole_runner")


def lay_out_certificates(rootfs: Path, origins: Origins) -> None:
    """Adds the trusted certificates, where the interpreter looks for them."""
    certificates = rootfs / "etc/ssl/certs/ca-certificates.crt"
    origins.copy(Path("/etc/ssl/certs/ca-certificates.crt"), certificates)
    default = rootfs / Path(ssl.get_default_verify_paths().openssl_cafile).relative_to("/")
    if default != certificates:
        default.parent.mkdir(parents=True, exist_ok=True)
        default.symlink_to("/" + str(certificates.relative_to(rootfs)))


def compile_sources(rootfs: Path) -> None:
    """Compiles every module; the interpreter then takes the result without looking at the source's time or hash."""
    for path in sorted(files_below(rootfs / "usr/lib")):
        if path.suffix == ".py":
            py_compile.compile(
                str(path),
                dfile="/" + str(path.relative_to(rootfs)),
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )


def check(rootfs: Path) -> None:
    """Imports what the runner needs in the finished root folder."""
    program = "import asyncio, hashlib, json, ssl, zlib, h11, jsonschema, wormhole_runner; ssl.create_default_context()"
    subprocess.run(  # noqa: S603
        ["/usr/bin/python3", "-I", "-c", program], check=True, preexec_fn=lambda: os.chroot(rootfs)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
