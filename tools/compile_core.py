"""Compiles the modules of `headgate.compiled` with mypyc, unless that was done from the same sources.

Without a C compiler or Python's headers, or when it fails, one line says so: plain Python does the same job.
That is an error only where HEADGATE_CORE=compiled insists.
"""

import contextlib
import importlib
import io
import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from headgate import compiled


def lacking() -> str | None:
    """What a C extension needs and this machine has not."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's headers are not installed"
    try:
        importlib.import_module("mypyc.build")
        importlib.import_module("setuptools")
    except ImportError as error:
        return f"there is no {error.name}"
    return None


def sources() -> list[str]:
    """The files whose code or types go into the extensions: the modules and all of ours that they import."""
    for name in compiled.MODULES:
        importlib.import_module(name)
    ours = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "headgate"]
    return sorted(Path(file).relative_to(compiled.SOURCES).as_posix() for file in ours if file)


def build() -> None:
    """Write the extensions. Whatever goes wrong is a SystemExit, after words of its own."""
    from mypyc.build import mypycify
    from setuptools import setup

    os.environ["MYPYPATH"] = str(compiled.SOURCES)
    files = [str(compiled.SOURCES / f"{name.replace('.', '/')}.py") for name in compiled.MODULES]
    config = Path(__file__).parents[1] / "pyproject.toml"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # setuptools would read our pyproject.toml
        options = [f"--config-file={config}", f"--cache-dir={folder}/cache"]
        modules = mypycify([*options, *files], opt_level="3", target_dir="c", group_name=compiled.GROUP)
        setup(
            name="headgate-core",
            ext_modules=modules,
            script_args=["--quiet", "build_ext", f"--build-lib={compiled.FOLDER}", "--build-temp=o"],
        )
        os.chdir(compiled.SOURCES)


def main() -> int:
    """Compile where that is needed and possible; the exit code."""
    asked = compiled.asked()
    os.environ[compiled.VARIABLE] = "plain"  # what is imported here are the sources
    if asked == "plain":
        print("compiled core: not built, HEADGATE_CORE=plain")
        return 0
    if compiled.unfit() is None:
        return 0
    if (lack := lacking()) is None:
        print("compiling the core (half a minute) ...", flush=True)
        began = time.monotonic()
        made_from = compiled.sums(sources())
        shutil.rmtree(compiled.FOLDER, ignore_errors=True)
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                build()
            compiled.SUMS.write_text("\n".join(made_from) + "\n")
            print(f"compiled core: {len(compiled.MODULES)} modules in {time.monotonic() - began:.0f} s")
            return 0
        except (Exception, SystemExit) as error:
            shutil.rmtree(compiled.FOLDER, ignore_errors=True)
            print(said.getvalue(), end="")
            lack = f"it did not build ({error})"
    print(f"compiled core: not built, {lack}; plain Python is used")
    return int(asked == "compiled")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except compiled.CoreError as error:
        sys.exit(str(error))
