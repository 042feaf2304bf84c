"""The interpreter of PTX computes what a device does, and refuses what it does not know."""

import ctypes
import ctypes.util

import numpy as np
import pytest

from ptx import arithmetic
from ptx.machine import Given, Machine
from ptx.program import Program, PtxError
from ptx.wave import WARP
from simt.examples import Grid

ORDERS = ("forward", "backward", "random")
N_CASES = 20_000  # cases of each kind


def fused_multiply_add(*factors: np.ndarray) -> np.ndarray:
    function = ctypes.CDLL(ctypes.util.find_library("m")).fmaf
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float] * 3
    return np.frompyfunc(function, 3, 1)(*factors).astype(np.float32)


def fma_cases() -> tuple[np.ndarray, ...]:
    """Return sums that cancel in part, and sums that lie half-way between two float32 but for a bit far below."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, N_CASES)).astype(np.float32)
    near = 1 + rng.choice([0, 1e-7, 1e-3, 1.0, 1e3], N_CASES) * rng.standard_normal(N_CASES)
    small = (2.0**-12 * (1 + rng.choice([-1, 0, 1], (2, N_CASES)) * 2.0**-23)).astype(np.float32)
    large = (1 + rng.integers(0, 2**23, N_CASES) * 2.0**-23) * rng.choice([-1, 1], N_CASES)
    cases = ((a, small[0]), (b, small[1]), (-(a.astype(np.float64) * b) * near, large))
    return tuple(np.concatenate(several).astype(np.float32) for several in cases)


def test_fma_rounds_once() -> None:
    cases = fma_cases()
    expected = fused_multiply_add(*cases)
    np.testing.assert_array_equal(arithmetic.fma(*cases), expected)
    twice = (cases[0].astype(np.float64) * cases[1] + cases[2]).astype(np.float32)
    assert (twice != expected).sum() > N_CASES // 100


def test_fma_of_no_numbers() -> None:
    inf, nan, most = np.float32([np.inf, np.nan, np.finfo(np.float32).max])
    a, b = np.array([inf, inf, nan, most, 0]), np.array([1, 0, 1, most, inf], np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(arithmetic.fma(a, b, np.ones(5, np.float32)), [inf, nan, nan, inf, nan])


def test_floats_become_integers_within_limits() -> None:
    x = np.float32([np.nan, -1.5, 0.5, 1.5, 2.5, 255.9, 5e9, np.inf, -np.inf])
    most, least = 2**31 - 1, -(2**31)
    with np.errstate(all="ignore"):
        assert arithmetic.to_integer(x, np.trunc, "u4").tolist() == [0, 0, 0, 1, 2, 255, 2**32 - 1, 2**32 - 1, 0]
        assert arithmetic.to_integer(x, np.rint, "i4").tolist() == [0, -2, 0, 2, 2, 256, most, most, least]
        assert arithmetic.to_integer(x, np.trunc, "u1").tolist() == [0, 0, 0, 1, 2, 255, 255, 255, 0]
        assert arithmetic.to_integer(x, np.trunc, "i8").tolist()[-3:] == [5 * 10**9, 2**63 - 1, -(2**63)]


def test_integers_divide_toward_zero() -> None:
    a, b = np.array([-7, 7, -7, 7]), np.array([3, 3, -3, -3])
    assert arithmetic.quotient(a, b).tolist() == [-2, 2, 2, -2]
    assert arithmetic.remainder(a, b).tolist() == [-1, 1, -1, 1]


def test_bytes_and_bits_are_moved() -> None:
    low, high = np.array([0x44332211], np.int32), np.array([-0x77889AAC], np.int32)  # 0x88776554
    chosen = arithmetic.prmt(low, high, np.int32(0xF470 & 0xFFFF))
    assert [hex(n & 0xFFFFFFFF) for n in chosen.tolist()] == ["0xff548811"]
    inserted = arithmetic.bfi(np.array([-1], np.int32), np.array([0], np.int32), np.int32(12), np.int32(8))
    assert [hex(n) for n in inserted.tolist()] == ["0xff000"]
    assert arithmetic.bfi(low, high, np.int32(0), np.int32(32)).tolist() == low.tolist()


def written(*lines: str, parameters: str = ".param .u64 out") -> Program:
    """Return a kernel of some lines, between loads of the output's address, and the end."""
    body = "\n\t".join(lines)
    return Program(
        f""".visible .entry written(
	{parameters}
)
{{
	.reg .pred %p<9>;
	.reg .b16 %rs<9>;
	.reg .f32 %f<9>;
	.reg .b32 %r<9>;
	.reg .b64 %rd<9>;
	ld.param.u64 %rd1, [out];
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %rd2, %r1, 4;
	add.s64 %rd3, %rd1, %rd2;
	{body}
	ret;
}}
""",
        "written",
    )


def results(program: Program, *others: Given, dtype: str = "u4") -> np.ndarray:
    """Return what the threads of a warp wrote."""
    out = np.zeros(4 * WARP, np.uint8)
    Machine().launch(program, Grid(threads=WARP), [out, *others])
    return out.view(dtype)


COMPARISONS = {  # results for 1 and 2, 2 and 2, 2 and 1, NaN and 1
    "eq": (0, 1, 0, 0),
    "ne": (1, 0, 1, 0),
    "lt": (1, 0, 0, 0),
    "le": (1, 1, 0, 0),
    "gt": (0, 0, 1, 0),
    "ge": (0, 1, 1, 0),
    "equ": (0, 1, 0, 1),
    "neu": (1, 0, 1, 1),
    "ltu": (1, 0, 0, 1),
    "leu": (1, 1, 0, 1),
    "gtu": (0, 0, 1, 1),
    "geu": (0, 1, 1, 1),
    "num": (1, 1, 1, 0),
    "nan": (0, 0, 0, 1),
}
ONE, TWO, NAN = "0f3F800000", "0f40000000", "0f7FC00000"


@pytest.mark.parametrize("compare", COMPARISONS)
def test_comparisons_know_nan(compare: str) -> None:
    for (a, b), expected in zip(((ONE, TWO), (TWO, TWO), (TWO, ONE), (NAN, ONE)), COMPARISONS[compare], strict=True):
        program = written(
            f"mov.f32 %f1, {a};",
            f"mov.f32 %f2, {b};",
            f"setp.{compare}.ftz.f32 %p1, %f1, %f2;",
            "selp.u32 %r2, 1, 0, %p1;",
            "st.global.u32 [%rd3], %r2;",
        )
        assert set(results(program)) == {expected}


LINES = {  # lines, and their result in thread 5
    "shift too far": (("shl.b32 %r2, %r1, 32;",), 0),
    "signed shift": (("sub.s32 %r2, %r1, 9;", "shr.s32 %r2, %r2, 1;"), -2),
    "unsigned shift": (("sub.s32 %r2, %r1, 9;", "shr.u32 %r2, %r2, 1;"), 2**31 - 2),
    "wraps": (("add.s32 %r2, %r1, 2147483647;",), 4 - 2**31),
    "high half": (("mul.hi.s32 %r2, %r1, 1717986919;",), 2),
    "low byte": (("add.s32 %r2, %r1, 511;", "cvt.u32.u8 %r2, %r2;"), 4),
    "signed byte": (("add.s32 %r2, %r1, 250;", "cvt.s32.s8 %r2, %r2;"), -1),
    "other lane": (("shfl.sync.bfly.b32 %r2|%p1, %r1, 3, 31, -1;",), 6),
    "one lane": (("shfl.sync.idx.b32 %r2|%p1, %r1, 9, 31, -1;",), 9),
    "votes": (("setp.gt.u32 %p1, %r1, 3;", "vote.sync.ballot.b32 %r2, %p1, -1;", "popc.b32 %r2, %r2;"), WARP - 4),
    "votes of lanes": (("setp.lt.u32 %p1, %r1, 3;", "vote.sync.ballot.b32 %r2, %p1, -1;"), 7),
    "guard": (("mov.u32 %r2, 7;", "setp.gt.u32 %p1, %r1, 4;", "@%p1 bra $over;", "mov.u32 %r2, 8;", "$over:"), 7),
    "guard that is not": (
        ("mov.u32 %r2, 7;", "setp.gt.u32 %p1, %r1, 4;", "@!%p1 bra $over;", "mov.u32 %r2, 8;", "$over:"),
        8,
    ),
    "flushed": (("mov.f32 %f1, 0f00800000;", "mul.ftz.f32 %f1, %f1, 0f3F000000;", "mov.b32 %r2, %f1;"), 0),
    "larger": (("max.ftz.f32 %f1, 0fBF800000, 0f3F800000;", "mov.b32 %r2, %f1;"), 0x3F800000),
    "larger than no number": (("max.ftz.f32 %f1, 0f7FC00000, 0fBF800000;", "mov.b32 %r2, %f1;"), 0x3F800000 - 2**31),
    "larger zero": (("max.ftz.f32 %f1, 0f80000000, 0f00000000;", "mov.b32 %r2, %f1;"), 0),
    "larger, flushed": (("max.ftz.f32 %f1, 0f00400000, 0f80000000;", "mov.b32 %r2, %f1;"), 0),
    "smaller": (("min.ftz.f32 %f1, 0f3F800000, 0f40000000;", "mov.b32 %r2, %f1;"), 0x3F800000),
    "smaller than no number": (("min.ftz.f32 %f1, 0f3F800000, 0f7FC00000;", "mov.b32 %r2, %f1;"), 0x3F800000),
    "smaller zero": (("min.ftz.f32 %f1, 0f00000000, 0f80000000;", "mov.b32 %r2, %f1;"), -(2**31)),
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("order", ORDERS)
def test_lines_compute(order: str, name: str) -> None:
    lines, expected = LINES[name]
    out = np.zeros(4 * WARP, np.uint8)
    Machine(order).launch(written(*lines, "st.global.u32 [%rd3], %r2;"), Grid(threads=WARP), [out])
    assert out.view(np.int32)[5] == expected


def test_structs_go_by_value() -> None:
    program = written(
        "ld.param.f32 %f1, [pair+4];",
        "st.global.f32 [%rd3], %f1;",
        parameters=".param .u64 .ptr .align 1 out,\n\t.param .align 4 .b8 pair[8]",
    )
    pair = np.array([(3, 2.5)], [("n", np.int32), ("x", np.float32)])[0]
    assert set(results(program, pair, dtype="f4")) == {2.5}
    with pytest.raises(PtxError, match="pair takes 8 bytes"):
        results(program, np.int32(1))


REFUSED = {
    "ex2.approx.ftz.f32 %f1, %f2;": "ex2",
    "add.rz.ftz.f32 %f1, %f2, %f3;": "add.rz",
    "add.f32 %f1, %f2, %f3;": "add.f32",
    "add.rn.f64 %f1, %f2, %f3;": "add.rn.f64",
    "add.rn.ftz.f32x2 %rd2, %rd1, %rd1;": "f32x2",
    "div.approx.ftz.f32 %f1, %f2, %f3;": "div.approx",
    "mul.hi.s64 %rd2, %rd1, %rd1;": "mul.hi",
    "bar.sync 1;": "bar.sync",
    "bar.red.popc.u32 %r2, 0, %p1;": "bar.red",
    "trap;": "trap",
    "atom.global.cas.b32 %r1, [%rd3], %r2, %r3;": "cas",
    "ld.local.u32 %r1, [%rd3];": "ld.local",
    "ld.volatile.global.u32 %r1, [%rd3];": "ld.volatile",
    "setp.lt.and.s32 %p1, %r1, 3, %p2;": "setp.lt.and",
    "cvt.f32.f16 %f1, %rs1;": "cvt.f32.f16",
    "vote.sync.any.pred %p1, %p2, -1;": "vote.sync.any",
    "shfl.sync.up.b32 %r2|%p1, %r1, 1, 0, -1;": "shfl.sync.up",
    "@%p1 add.s32 %r2, %r1, 1;": "@%p1 add",
    ".local .align 4 .b8 depot[16];": ".local",
    "mov.u32 %r2, %smid;": "%smid",
    "bar.warp.sync 1;": "bar.warp.sync",
    "?": "not understood",
    "add.u32 %r2, %r3, %r4;": "%r3 is read before anything wrote it",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_not_supported_is_refused_by_name(line: str) -> None:
    with pytest.raises(PtxError, match=REFUSED[line]):
        results(written(line))
