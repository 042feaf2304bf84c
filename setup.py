"""Compiles the CPU path in C++ (kernels/simd) where there is a compiler; without one, the package does without it.

One source makes an object for each instruction set. The library is no module of Python's: ctypes loads it, whatever the
interpreter's version; so one wheel is for all versions.
"""

import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

SOURCES = Path("kernels", "simd")
# Only an explicit fmaf is one, as on the GPU; NaN, infinity and the sign of zero stay what they are.
FLAGS = ["-std=c++17", "-O3", "-g0", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno"]
FLAGS += ["-fno-trapping-math", "-pthread", "-Wno-unknown-pragmas", "-Wno-ignored-attributes", "-Wno-psabi"]
BASELINE = {"BASELINE": []}
X86 = {
    "AVX512": [f"-m{name}" for name in ("avx512f", "avx512dq", "avx512bw", "avx512vl", "fma")]
    + ["-mprefer-vector-width=512"],
    "AVX2": ["-mavx2", "-mfma"],
}
TARGETS = BASELINE | (X86 if platform.machine() in ("x86_64", "AMD64") else {})
ONLY = [("ONLY_BASELINE", "1")] if TARGETS == BASELINE else []


class BuildLibrary(build_ext):
    """Compiles `features.cc` once for each of TARGETS."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return the file of the library, which is the same for all versions of Python."""
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Compile all objects, as many at once as there are processors, and link them."""
        library = Path(self.get_ext_fullpath(ext.name))
        library.parent.mkdir(parents=True, exist_ok=True)
        library.unlink(missing_ok=True)  # an old one would not tell that no compiler was there
        if self.compiler.compiler_type == "msvc":
            raise CompileError("it is for g++ and clang++, whose vectors Microsoft's compiler does not have")
        jobs = [("library.cc", "library", [])] + [("features.cc", name, flags) for name, flags in TARGETS.items()]

        def compile_one(job: tuple[str, str, list[str]]) -> list[str]:
            source, name, flags = job
            return self.compiler.compile(
                [str(SOURCES / source)],
                output_dir=str(Path(self.build_temp, name)),
                macros=[("TARGET", name), *ONLY],
                extra_postargs=[*FLAGS, *flags],
                depends=ext.depends,
            )

        with ThreadPoolExecutor() as pool:
            objects = [path for paths in pool.map(compile_one, jobs) for path in paths]
        self.compiler.link_shared_object(objects, str(library), extra_postargs=["-pthread"], target_lang="c++")


def wheels_for_any_python() -> type:
    """Return the command that names a wheel for every version of Python on one kind of machine."""
    from setuptools.command.bdist_wheel import bdist_wheel

    class AnyPython(bdist_wheel):
        def get_tag(self) -> tuple[str, str, str]:
            *_, machine = super().get_tag()
            return "py3", "none", machine

    return AnyPython


if __name__ == "__main__":
    if sys.platform == "darwin":  # a Python for two kinds of CPU asks for both in one object
        os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")
    depends = sorted(map(str, [*SOURCES.glob("*"), Path("kernels", "fft.cuh")]))
    library = Extension("cumel.kernels.simd.native", [str(SOURCES / "features.cc")], depends=depends, optional=True)
    commands: dict[str, type] = {"build_ext": BuildLibrary}
    with suppress(ImportError):  # A setuptools that has no such command makes no wheel.
        commands["bdist_wheel"] = wheels_for_any_python()
    setup(ext_modules=[library], cmdclass=commands)
