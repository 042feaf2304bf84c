"""The emulator finds what is wrong with a kernel, and nothing where nothing is."""

import re

import numpy as np
import pytest
import torch

from simt import compiler
from simt.emulator import Emulator, EmulatorError, SanitizerError, compile_many
from simt.examples import BOUNDS, BOUNDS_KERNEL, NUMBERS, ORDER, RULES, RULES_KERNEL, SKIPPED, TOTAL, Grid, Kernel

N_SEEDS = 20
BLOCKS, THREADS, WARP = 5, 64, 32


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Use all processors, once."""
    compile_many([TOTAL, RULES_KERNEL, ORDER, NUMBERS])
    compile_many([TOTAL], sanitizer="thread")
    compile_many([TOTAL, BOUNDS_KERNEL], sanitizer="address")


def run_case(emulator: Emulator, kernel: Kernel, number: int, n: int) -> torch.Tensor:
    out = torch.zeros(n)
    emulator.launch(kernel, Grid(shared=4 * n), [out, None, np.int32(number), np.int32(0)])
    return out


def total(emulator: Emulator, skip: int = 0, n_threads: int = THREADS) -> float:
    n = 3 * BLOCKS * THREADS
    x, parts, result = torch.arange(n) / n, torch.zeros(BLOCKS * THREADS // WARP), torch.zeros(1)
    ticket = torch.zeros(1, dtype=torch.int32)
    grid = Grid(blocks=BLOCKS, threads=n_threads, shared=4 * n_threads + 4)
    emulator.launch(TOTAL, grid, [x, parts, result, ticket, np.int32(n), np.int32(skip)])
    assert ticket.item() == 0
    return result.item()


EXPECTED = float(np.sum((np.arange(960) / 960).reshape(-1, WARP)[:, ::-1] * np.arange(1, WARP + 1)))
RTOL = 1e-6  # relative error of a float32 sum; worst 1e-7


def test_a_right_kernel_gives_the_same_bits_in_every_order() -> None:
    orders = [Emulator(order, resident=r) for order in ("forward", "backward") for r in (1, 3)]
    orders += [Emulator("random", seed=seed, resident=3) for seed in range(N_SEEDS)]
    results = {total(emulator) for emulator in orders}
    assert len(results) == 1
    np.testing.assert_allclose(results.pop(), EXPECTED, rtol=RTOL)


@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_sanitizers_find_nothing_in_a_right_kernel(sanitizer: compiler.Sanitizer) -> None:
    for order in ("forward", "random"):
        assert total(Emulator(order, resident=3, sanitizer=sanitizer)) == total(Emulator())


@pytest.mark.parametrize("skip", SKIPPED, ids=SKIPPED.values())
@pytest.mark.parametrize("order", ["forward", "random"])
def test_what_orders_memory_is_missed(order: str, skip: int) -> None:
    with pytest.raises(SanitizerError, match=r"(?s)data race.*total\.cu:\d+"):
        total(Emulator(order, resident=3, sanitizer="thread"), skip)


def test_a_missing_barrier_changes_results() -> None:
    assert np.isnan(total(Emulator("forward"), skip=1))
    assert total(Emulator("forward"), skip=2) != total(Emulator())


def test_edits_change_the_source() -> None:
    broken = Emulator(edit=lambda text: text.replace("31 - lane", "lane"))
    assert total(broken) != total(Emulator())


def matches(pattern: str, kernel: Kernel, code: str) -> str:
    """Fill in the lines of the code."""
    first = kernel.text()[: kernel.text().index(f"{{\n{code}\n}}")].count("\n") + 2
    return re.sub(r"\{(\d)\}", lambda found: str(first + int(found[1])), pattern)


@pytest.mark.parametrize("name", RULES)
def test_broken_rules_are_reported_with_their_line(name: str) -> None:
    (code, said), number = RULES[name], list(RULES).index(name)
    with pytest.raises(EmulatorError, match=matches(said, RULES_KERNEL, code)) as caught:
        run_case(Emulator(), RULES_KERNEL, number, THREADS)
    assert all(f" | {code.splitlines()[int(line)]}" in str(caught.value) for line in re.findall(r"\{(\d)\}", said))
    for emulator in (Emulator("backward"), Emulator("random")):
        with pytest.raises(EmulatorError, match="kernel rules"):
            run_case(emulator, RULES_KERNEL, number, THREADS)
    assert run_case(Emulator(), RULES_KERNEL, -1, THREADS).isnan()[:-1].all()  # Nobody wrote that shared memory.


def test_a_failed_launch_changes_no_tensor() -> None:
    out = torch.zeros(THREADS)
    broken = np.int32(list(RULES).index("before a buffer"))
    with pytest.raises(EmulatorError):
        Emulator().launch(RULES_KERNEL, Grid(shared=4), [out, None, broken, np.int32(0)])
    assert not out.any()


@pytest.mark.parametrize("name", BOUNDS)
def test_undefined_accesses_are_reported_with_their_line(name: str) -> None:
    (code, said), number = BOUNDS[name], list(BOUNDS).index(name)
    line = matches(f"{{{code.count(chr(10))}}}", BOUNDS_KERNEL, code)
    with pytest.raises(SanitizerError, match=f"(?s){said}.*bounds.cu:{line}|bounds.cu:{line}.*{said}"):
        run_case(Emulator(sanitizer="address"), BOUNDS_KERNEL, number, 63)


@pytest.mark.parametrize("sanitizer", [None, "thread", "address"])
def test_a_warp_that_is_not_full_needs_a_mask(sanitizer: compiler.Sanitizer) -> None:
    with pytest.raises(EmulatorError, match="names lanes that left the kernel or never were") as caught:
        total(Emulator(sanitizer=sanitizer), n_threads=20)
    assert caught.type is EmulatorError


def order(*args, **kwargs) -> list[int]:
    log, count = torch.zeros(BLOCKS * THREADS, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    Emulator(*args, **kwargs).launch(ORDER, Grid(blocks=BLOCKS), [log, count])
    assert sorted(log.tolist()) == list(range(BLOCKS * THREADS))
    return log.tolist()


def test_orders() -> None:
    n = BLOCKS * THREADS
    assert order("forward") == list(range(n))
    assert order("backward", resident=2) == list(range(n))[::-1]
    logs = [order("random", seed=seed, resident=3) for seed in range(N_SEEDS)]
    assert len(set(map(tuple, logs))) == N_SEEDS
    assert logs[7] == order("random", seed=7, resident=3) != order("random", seed=7, resident=2)
    assert len({thread // THREADS for thread in logs[0][:32]}) == 3


def test_numbers() -> None:
    out, x = torch.zeros(WARP, 13, dtype=torch.int32), torch.tensor([float("nan"), -1.5])
    Emulator("random").launch(NUMBERS, Grid(threads=WARP), [out, x])
    lane = np.arange(WARP)
    down = np.where(lane % 16 < 13, lane + 3, lane)
    flipped = np.where(lane ^ 12 <= (lane | 7), lane ^ 12, lane)
    bits = int(np.float32(-1.5).view(np.int32))
    constants = [20, 2**31 - 1, bits, 16, -1 + 3000 + 1, 12 + 3 + 10, 7 + 90 + 300, 5 - 2, WARP + 1]
    columns = [lane // 8 * 8 + 5, flipped, down, np.full(WARP, 31), *(np.full(WARP, c) for c in constants)]
    np.testing.assert_array_equal(out.numpy(), np.stack(columns, axis=1))


def test_the_workspace_is_used_again() -> None:
    emulator = Emulator()
    peaks, tickets = emulator.workspace(3)
    assert (peaks.shape, tickets.shape, peaks.dtype, tickets.dtype) == ((3, 2), (3,), torch.int32, torch.int32)
    assert not peaks.any()
    assert not tickets.any()
    assert emulator.workspace(2)[0] is peaks


@pytest.mark.parametrize("sanitizer", [None, "address"])
def test_wrong_arguments_are_refused(sanitizer: compiler.Sanitizer) -> None:
    emulator, out, number = Emulator(sanitizer=sanitizer), torch.zeros(64), np.int32(-1)
    wrong = {
        "takes 4 arguments, not 3": [out, None, number],
        "argument 2, counted from 0, must be a whole number of 4 bytes": [out, None, np.int64(-1), number],
        "argument 3, counted from 0, must be a whole number of 4 bytes": [out, None, number, np.float32(0)],
        "argument 0, counted from 0, must be a pointer of 8 bytes": [number, None, number, number],
    }
    kernel = BOUNDS_KERNEL if sanitizer else RULES_KERNEL
    for said, arguments in wrong.items():
        with pytest.raises(EmulatorError, match=said):
            emulator.launch(kernel, Grid(), arguments)
    with pytest.raises(TypeError, match="-1 has no exact width"):
        emulator.launch(kernel, Grid(), [out, None, -1, number])
    with pytest.raises(TypeError, match="make it contiguous"):
        emulator.launch(kernel, Grid(), [out[::2], None, number, number])
    with pytest.raises(EmulatorError, match="threads=1025"):
        emulator.launch(kernel, Grid(threads=1025), [out, None, number, number])


def test_one_buffer_may_be_two_arguments() -> None:
    emulator, out, number = Emulator(sanitizer="address"), torch.zeros(64), np.int32(-1)
    emulator.launch(BOUNDS_KERNEL, Grid(shared=4), [out, out, number, number])
    assert out[:63].isnan().all()
    with pytest.raises(EmulatorError, match="overlap"):
        emulator.launch(BOUNDS_KERNEL, Grid(shared=4), [out, out[1:], number, number])


def test_a_kernel_that_does_not_compile() -> None:
    with pytest.raises(EmulatorError, match=r"(?s)g\+\+ refuses kernel odd.*odd\.cu:2:.*__shared__"):
        compile_many([Kernel("odd", 'extern "C" __global__ void odd(int *p) {\n  __shared__ int x;\n  *p = x;\n}\n')])


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EmulatorError, match=r"no g\+\+ was found.*install it"):
        compiler._compiler.__wrapped__()
