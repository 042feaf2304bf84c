"""How many warp instructions the fused log-mel kernel executes for one clip, computed from its machine code.

The SASS becomes a graph of basic blocks. A block runs once for each warp of each CUDA block; inside the frame loop once
for each round of a warp, ceil(frames / G) rounds in a CUDA block; inside the loops of the epilogue as often as the plan
says, where unrolled bodies and their remainders are told apart by their stores. All clips have the same length, so no
length is looked up. Of the branches of `load` only the aligned one counts: a block from which every way leads through
the memory accesses of another branch does not run. The chain of inlined calls tells what an instruction is for.

The count is approximate in these ways. Every frame counts as one inside its clip; the few at its edges cost more. An
`if` counts as taken. The last CUDA block of a clip counts as full outside the frame loop, and so does the last round
over vectors, which are assumed to leave no remainder. Loops that the compiler kept in the mel product share what the
straight code leaves over. Wavefronts of global memory are those of neighbouring lanes at neighbouring addresses.
"""

import re
from collections import Counter
from dataclasses import dataclass

from cumel.kernels import FeatureConfig, plan

from .bank_conflicts import conflicts
from .disassembly import Code, Instruction, Resources, compile_text, disassemble, dominators, loops, reachable

SECONDS = 5  # length of a clip

# Phases, and a pattern of the line in the kernel's own body that an instruction comes from.
EXCHANGE, SPLIT, MEL, EPILOGUE, FINISH, SET_UP = "exchange", "split, power", "mel", "epilogue", "finish", "set-up"
PHASES = {
    "load, window": r"\bload\(|windowed_pairs\(",
    "transform 1": r"Plain\(\)",
    EXCHANGE: r"\(exchange \+|exchange\[",
    "transform 2": r"Twisted|\btwist \+",
    SPLIT: r"store_bins\(|bins\[BINS",
    MEL: r"store_mel<",
    EPILOGUE: r"store_tile\(",
    FINISH: r"finish_clip\(",
    SET_UP: "",  # everything else: clip, addresses and loop of a block and of a round
}
KINDS = {
    "FMA": r"FFMA",
    "add, mul": r"FADD|FMUL",
    "shared": r"LDS|STS",
    "global": r"LDG|STG|ATOMG|RED|REDG",
    "shuffle": r"SHFL",
    "integer": r"U?(IADD3?|IMAD|LEA|SHF|LOP3|VIADD|VIADDMNMX|VIMNMX3?|IMNMX|IABS)",
    "other": r".*",  # moves, constants, compares, selects, conversions, jumps, barriers
}
ATOMICS = "ATOMG|RED|REDG"
WAVEFRONTS = r"LDS|STS|LDG|STG|SHFL|ATOMG|RED|REDG"
ARRAYS = {
    (EXCHANGE, "STS"): "exchange",
    (EXCHANGE, "LDS"): "exchange",
    (SPLIT, "STS"): "bins",
    (MEL, "LDS"): "bins",
    (MEL, "STS"): "tile",
    (EPILOGUE, "LDS"): "tile",
}


@dataclass(frozen=True)
class Work:
    """How often the parts of a kernel run for one clip."""

    cfg: FeatureConfig
    fused: plan.Fused

    @property
    def n_frames(self) -> int:
        """Frames of a clip."""
        return self.cfg.n_frames(SECONDS * self.cfg.sr)

    @property
    def n_blocks(self) -> int:
        """CUDA blocks of a clip, in a batch large enough for full ones."""
        return -(-self.n_frames // self.fused.most_frames)

    @property
    def lanes(self) -> int:
        """Lanes that share a frame."""
        return plan.RADICES[self.cfg.n_fft][1]

    @property
    def rounds(self) -> int:
        """Times that a warp goes through the frame loop, of all warps."""
        full, rest = divmod(self.n_frames, self.fused.most_frames)
        at_once = plan.WARP // self.lanes
        return full * -(-self.fused.most_frames // at_once) + -(-rest // at_once)

    @property
    def rows(self) -> int:
        """Rows of a thread in the epilogue."""
        return -(-self.fused.n_rows * self.fused.most_frames // (plan.WARP * self.fused.warps))

    @property
    def all_bins(self) -> bool:
        """Whether the split stores X[M - k] beside X[k]."""
        return int(dict(self.fused.kernel.constants)["BINS"]) > self.cfg.n_fft // 4

    def vector_trips(self, in_flight: int) -> int:
        """Return how often a warp of a clip's last block goes through the loop over its vectors of four."""
        quads = self.fused.n_rows * self.n_frames // 4
        return -(-quads // (in_flight * plan.WARP * self.fused.warps))


@dataclass(frozen=True)
class Count:
    """Warp instructions for one clip by phase and kind, and its wavefronts of 128 bytes through L1."""

    work: Work
    resources: Resources
    instructions: Counter[tuple[str, str]]
    wavefronts: float
    conflicts: float  # extra wavefronts, where words of several lanes lie in one bank of shared memory
    names: frozenset[str]  # instruction names in the whole kernel, with suffixes

    def per_frame(self, *, phase: str = "", kind: str = "") -> float:
        """Return warp instructions per frame, of a phase or a kind or all."""
        chosen = (n for key, n in self.instructions.items() if phase in ("", key[0]) and kind in ("", key[1]))
        return sum(chosen) / self.work.n_frames


def count(cfg: FeatureConfig, arch: str) -> Count:
    """Compile the log-mel kernel of a config, float32 in and out, and count it."""
    fused = plan.fused(cfg, plan.Stage.DECIBEL)
    assert fused, f"n_fft={cfg.n_fft}: no fused kernel"
    work, text = Work(cfg, fused), fused.kernel.text()
    cubin, resources = compile_text(text, arch)
    code = disassemble(cubin)
    source = Source(text)
    instructions: Counter[tuple[str, str]] = Counter()
    shared = conflicts(cfg.n_fft, fused, all_bins=work.all_bins)
    wavefronts = extra = 0.0
    for index, times in Executions(code, source, work).times.items():
        for instruction in code.blocks[index]:
            phase = source.phase(instruction)
            kind = next(kind for kind, names in KINDS.items() if re.fullmatch(names, instruction.name))
            instructions[phase, kind] += times
            if re.fullmatch(WAVEFRONTS, instruction.name):
                width = 4 if "128" in instruction.suffixes else 2 if "64" in instruction.suffixes else 1
                wavefronts += times * width
                if array := ARRAYS.get((phase, instruction.name)):
                    extra += times * (shared[array, instruction.name] - width)
    missing = {*PHASES, *KINDS} - {name for key in instructions for name in key}
    if cfg.top_db is not None and missing:
        raise SystemExit(f"n_fft={cfg.n_fft}: no instruction for {missing}; did the kernel's lines change?")
    names = frozenset(".".join((each.name, *each.suffixes)) for block in code.blocks for each in block)
    return Count(work, resources, instructions, wavefronts, extra, names)


class Source:
    """The text of a kernel, and the lines of its parts."""

    def __init__(self, text: str) -> None:
        self.lines = ["", *text.splitlines()]
        start = next(n for n, line in enumerate(self.lines) if re.search(r"__forceinline__ void load\(", line))
        self.load = range(start, self.lines.index("}", start))
        branches = [n for n in self.load if re.match(r"  (if \(|\} else)", self.lines[n])]
        self.aligned = range(branches[0] + 1, branches[1])
        assert any("inner_pair<true>" in self.lines[n] for n in self.aligned)

    def phase(self, instruction: Instruction) -> str:
        """Return what an instruction is for."""
        line = self.lines[instruction.lines[-1]] if instruction.lines else ""
        return next(phase for phase, pattern in PHASES.items() if re.search(pattern, line))

    def branch(self, instruction: Instruction) -> str:
        """Return the branch of `load` to which a memory access belongs: "aligned", "other", or "" for none."""
        inside = [line for line in instruction.lines if line in self.load]
        if not inside or not re.fullmatch("LDG|LDS|STG|STS|LD|ST", instruction.name):
            return ""
        return "aligned" if inside[0] in self.aligned else "other"


class Executions:
    """The blocks that run for frames inside a clip, and how often each runs for one clip.

    Most blocks run as often as the nearest block on every way to them. `known` has the others: heads of loops, and
    blocks behind a condition.
    """

    def __init__(self, code: Code, source: Source, work: Work) -> None:
        self.blocks, self.flow, self.source, self.work = code.blocks, code.flow, source, work
        self.above = dominators(code.flow)
        self.loops = loops(code.flow, self.above)
        self.aligned = {index for index in self.above if self._in_branch(index, "aligned")}
        self.frame_loop = next(header for header, body in self.loops.items() if body & self.aligned)
        ragged = (index for index in self.above if self._select(index, "LDG", SET_UP))
        known = dict.fromkeys(ragged, 0.0) | {self.frame_loop: float(work.rounds)}
        known |= self._epilogue_rows() | self._finish()
        self.live = self._live({index for index, times in known.items() if times == 0})
        known |= self._mel_loops()
        self.times: dict[int, float] = {}
        for index in sorted(self.live, key=lambda i: len(self.above[i])):
            self.times[index] = known.get(index, self._inherited(index))

    def _in_branch(self, index: int, branch: str) -> bool:
        """Whether a block accesses memory in a branch of `load`."""
        return any(self.source.branch(instruction) == branch for instruction in self.blocks[index])

    def _select(self, index: int, names: str, phase: str) -> list[Instruction]:
        """Return a block's instructions of one phase whose names match."""
        matching = (each for each in self.blocks[index] if re.fullmatch(names, each.name))
        return [instruction for instruction in matching if self.source.phase(instruction) == phase]

    def _inherited(self, index: int) -> float:
        """Return how often the nearest dominator runs that is in no loop which `index` has left."""
        if index == 0:
            return self.work.n_blocks * self.work.fused.warps
        left = {i for body in self.loops.values() if index not in body for i in body}
        return self.times[max(self.above[index] - left - {index}, key=lambda i: len(self.above[i]))]

    def _stores(self, phase: str) -> tuple[dict[int, int], dict[int, int]]:
        """Return the stores to global memory in each loop, by header, and in each block outside of loops."""
        stores = {index: len(self._select(index, "STG", phase)) for index in self.above}
        looping = {header: sum(stores[i] for i in body) for header, body in self.loops.items()}
        straight = {i: n for i, n in stores.items() if n and not any(i in body for body in self.loops.values())}
        return {header: n for header, n in looping.items() if n}, straight

    def _epilogue_rows(self) -> dict[int, float]:
        """Share out the rows that a thread stores, as the plan says: first to unrolled loops, then to straight code."""
        looping, straight = self._stores(EPILOGUE)
        known, rest = {}, self.work.rows
        for stores, most in ((looping, self.work.rows), (straight, 1)):
            for index in sorted(stores, key=lambda i: -stores[i]):
                trips = min(most, rest // stores[index])
                rest -= trips * stores[index]
                known[index] = float(self.work.n_blocks * self.work.fused.warps * trips)
        assert rest == 0, "the stores of the epilogue do not add up to the rows"
        return known

    def _finish(self) -> dict[int, float]:
        """Count the end of a clip: its last block finishes it, and one thread of each block takes a ticket."""
        known: dict[int, float] = {}
        for index in self.above:
            last = self.blocks[index][-1]
            if tickets := self._select(index, "ATOMG", FINISH):
                once = any("EXCH" in ticket.suffixes for ticket in tickets)
                known[index] = 1.0 if once else float(self.work.n_blocks)
            if last.name == "EXIT" and last.guard and len(last.lines) > 1 and self.source.phase(last) == FINISH:
                known[index + 1] = float(self.work.fused.warps)
            if self.work.cfg.top_db is None and (
                self._select(index, f"{ATOMICS}|MEMBAR|BAR", FINISH) or self._select(index, ATOMICS, EPILOGUE)
            ):
                known[index] = 0.0
        looping, straight = self._stores(FINISH)
        for header, n in looping.items():
            stores = (store for i in self.loops[header] for store in self._select(i, "STG", FINISH))
            vectors = all("128" in store.suffixes for store in stores)
            known[header] = float(vectors and self.work.fused.warps * self.work.vector_trips(n))
        return known | dict.fromkeys(straight, 0.0)

    def _live(self, cold: set[int]) -> set[int]:
        """Return the blocks on a way from the kernel's beginning to an end, through nothing cold."""
        other = {index for index in self.above if self._in_branch(index, "other")}
        assert not other & self.aligned, "one block has the memory accesses of several branches of `load`"
        allowed = set(self.above) - cold - other
        ends = [i for i in allowed if any(instruction.name == "EXIT" for instruction in self.blocks[i])]
        backwards = self.flow.reverse(copy=False)
        live = reachable(self.flow, [0], allowed) & reachable(backwards, ends, allowed)
        if plan.WARP % self.work.lanes == 0:  # no lane is idle, so every way leads through the aligned loads
            body = self.loops[self.frame_loop] - {self.frame_loop}
            behind = reachable(self.flow, self.aligned, body)
            live -= {i for i in body - behind if not self.aligned & reachable(self.flow, [i], body)}
        assert self.aligned | self.loops[self.frame_loop] & {self.frame_loop} <= live
        return live

    def _mel_loops(self) -> dict[int, float]:
        """Count the loops of the mel product: they load the weights that the straight code does not."""
        inside = self.live & self.loops[self.frame_loop]
        headers = [header for header in self.loops if header in inside - {self.frame_loop}]
        rolled = {index for header in headers for index in self.loops[header]}

        def vectors(indices: set[int]) -> int:
            return sum("128" in load.suffixes for index in indices for load in self._select(index, "LDG", MEL))

        assert all(vectors(self.loops[header]) for header in headers), "a loop loads something else than mel weights"
        rest = sum(self.work.fused.mel.quads) - vectors(inside - rolled)
        assert headers or rest == 0, "the weights that the mel product loads do not add up"
        return {header: self.work.rounds * rest / vectors(rolled) for header in headers}
