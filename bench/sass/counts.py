"""How many warp instructions the fused log-mel kernel takes for one clip, out of the compiler alone.

How: the SASS becomes a graph of basic blocks. A block runs once for each warp of each CUDA block; in the frame loop
once for each round of a warp, ceil(frames / G) rounds in a CUDA block; in the loops of the epilogue as often as the
plan says, unrolled bodies and what remains of them told apart by their stores. All clips are as long, so that
none's length is looked up. Of `load`'s branches the aligned one counts: a block from which every way leads through
another branch's memory does not run. The chain of inlined calls tells what an instruction is for.

What is approximate: every frame counts as one inside its clip (the few at its edges cost more); an `if` counts as
taken; the last CUDA block of a clip counts as full outside the frame loop; so does the last round over vectors, which
are taken to leave no rest. Loops that the compiler kept in the mel product share what the straight code leaves over.
Wavefronts of global memory are those of neighbouring lanes at neighbouring addresses.
"""

import re
from collections import Counter
from dataclasses import dataclass

from cumel.kernels import FeatureConfig, plan

from .bank_conflicts import conflicts
from .disassembly import Block, Instruction, Resources, compile_text, disassemble, dominators, loops, reached

SECONDS = 5  # of a clip

# What stands on the kernel's own line that an instruction came from tells what it is for.
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
    SET_UP: "",  # work of the block and of a round: clip, addresses, loop
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
    """What one clip takes: warp instructions by phase and kind, wavefronts of 128 bytes through L1."""

    work: Work
    resources: Resources
    instructions: Counter[tuple[str, str]]
    wavefronts: float
    conflicts: float  # more wavefronts, for lanes whose words lie in one bank of shared memory
    names: frozenset[str]  # of all instructions of the kernel, with their suffixes

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
    blocks = disassemble(cubin)
    source = Source(text)
    instructions: Counter[tuple[str, str]] = Counter()
    banks = conflicts(cfg.n_fft, fused, all_bins=work.all_bins)
    wavefronts = more = 0.0
    for index, times in Graph(blocks, source, work).times.items():
        for one in blocks[index].instructions:
            phase = source.phase(one)
            kind = next(kind for kind, names in KINDS.items() if re.fullmatch(names, one.name))
            instructions[phase, kind] += times
            if re.fullmatch(WAVEFRONTS, one.name):
                width = 4 if "128" in one.suffixes else 2 if "64" in one.suffixes else 1
                wavefronts += times * width
                if array := ARRAYS.get((phase, one.name)):
                    more += times * (banks[array, one.name] - width)
    missing = {*PHASES, *KINDS} - {name for key in instructions for name in key}
    if cfg.top_db is not None and missing:
        raise SystemExit(f"n_fft={cfg.n_fft}: no instruction for {missing}; did the kernel's lines change?")
    names = frozenset(".".join((one.name, *one.suffixes)) for block in blocks for one in block.instructions)
    return Count(work, resources, instructions, wavefronts, more, names)


class Source:
    """The kernel's text, and where things are in it."""

    def __init__(self, text: str) -> None:
        self.lines = ["", *text.splitlines()]
        start = next(n for n, line in enumerate(self.lines) if re.search(r"__forceinline__ void load\(", line))
        self.load = range(start, self.lines.index("}", start))
        branches = [n for n in self.load if re.match(r"  (if \(|\} else)", self.lines[n])]
        self.aligned = range(branches[0] + 1, branches[1])
        assert any("SamplePair" in self.lines[n] for n in self.aligned)

    def phase(self, one: Instruction) -> str:
        """Return what an instruction is for."""
        line = self.lines[one.lines[-1]] if one.lines else ""
        return next(phase for phase, said in PHASES.items() if re.search(said, line))

    def branch(self, one: Instruction) -> str:
        """Return the branch of `load` that an access to memory belongs to: aligned, other, or none."""
        inside = [line for line in one.lines if line in self.load]
        if not inside or not re.fullmatch("LDG|LDS|STG|STS|LD|ST", one.name):
            return ""
        return "aligned" if inside[0] in self.aligned else "other"


class Graph:
    """The blocks that run for frames inside a clip, and how often each does for one clip."""

    def __init__(self, blocks: list[Block], source: Source, work: Work) -> None:
        self.blocks, self.source, self.work = blocks, source, work
        self.above = dominators(blocks)
        self.loops = loops(blocks, self.above)
        self.aligned = {i for i in self.above if any(source.branch(one) == "aligned" for one in blocks[i].instructions)}
        self.frame_loop = next(header for header, inside in self.loops.items() if inside & self.aligned)
        ragged = (index for index in self.above if self._has(index, "LDG", SET_UP))
        gates = dict.fromkeys(ragged, 0.0) | {self.frame_loop: float(work.rounds)}
        gates |= self._row_gates() | self._finish_gates()
        self.live = self._live({index for index, times in gates.items() if times == 0})
        gates |= self._mel_gates()
        self.times: dict[int, float] = {}
        for index in sorted(self.live, key=lambda i: len(self.above[i])):
            self.times[index] = gates.get(index, self._inherited(index))

    def _has(self, index: int, names: str, phase: str) -> list[Instruction]:
        """Return a block's instructions with one of the names, in a phase."""
        found = (one for one in self.blocks[index].instructions if re.fullmatch(names, one.name))
        return [one for one in found if self.source.phase(one) == phase]

    def _inherited(self, index: int) -> float:
        """Return how often the nearest block ran before it that is in no loop which `index` is not in."""
        if index == 0:
            return self.work.n_blocks * self.work.fused.warps
        left = {i for inside in self.loops.values() if index not in inside for i in inside}
        return self.times[max(self.above[index] - left - {index}, key=lambda i: len(self.above[i]))]

    def _stores(self, phase: str) -> tuple[dict[int, int], dict[int, int]]:
        """Return the stores to global memory of each loop, by header, and of each block outside of loops."""
        each = {index: len(self._has(index, "STG", phase)) for index in self.above}
        looping = {header: sum(each[i] for i in inside) for header, inside in self.loops.items()}
        straight = {i: n for i, n in each.items() if n and not any(i in inside for inside in self.loops.values())}
        return {header: n for header, n in looping.items() if n}, straight

    def _row_gates(self) -> dict[int, float]:
        looping, straight = self._stores(EPILOGUE)
        gates, rest = {}, self.work.rows
        for some, most in ((looping, self.work.rows), (straight, 1)):
            for index in sorted(some, key=lambda i: -some[i]):
                trips = min(most, rest // some[index])
                rest -= trips * some[index]
                gates[index] = float(self.work.n_blocks * self.work.fused.warps * trips)
        assert rest == 0, "the stores of the epilogue do not add up to the rows"
        return gates

    def _finish_gates(self) -> dict[int, float]:
        """Only a clip's last block makes it final; only one thread of each takes a ticket."""
        gates: dict[int, float] = {}
        for index in self.above:
            last = self.blocks[index].instructions[-1]
            if tickets := self._has(index, "ATOMG", FINISH):
                once = any("EXCH" in one.suffixes for one in tickets)
                gates[index] = 1.0 if once else float(self.work.n_blocks)
            if last.name == "EXIT" and last.guard and len(last.lines) > 1 and self.source.phase(last) == FINISH:
                gates[index + 1] = float(self.work.fused.warps)
            if self.work.cfg.top_db is None and (
                self._has(index, f"{ATOMICS}|MEMBAR|BAR", FINISH) or self._has(index, ATOMICS, EPILOGUE)
            ):
                gates[index] = 0.0
        looping, straight = self._stores(FINISH)
        for header, n in looping.items():
            vectors = all("128" in one.suffixes for i in self.loops[header] for one in self._has(i, "STG", FINISH))
            gates[header] = float(vectors and self.work.fused.warps * self.work.vector_trips(n))
        return gates | dict.fromkeys(straight, 0.0)

    def _live(self, cold: set[int]) -> set[int]:
        """Return the blocks on a way from the kernel's beginning to an end, through nothing cold."""
        other = {
            i for i in self.above if any(self.source.branch(one) == "other" for one in self.blocks[i].instructions)
        }
        assert not other & self.aligned, "one block has the memory accesses of several branches of `load`"
        allowed = set(self.above) - cold - other
        ends = [i for i in allowed if any(one.name == "EXIT" for one in self.blocks[i].instructions)]
        live = reached(self.blocks, [0], allowed) & reached(self.blocks, ends, allowed, backwards=True)
        if plan.WARP % self.work.lanes == 0:  # no lane is off: every way leads through the aligned loads
            body = self.loops[self.frame_loop] - {self.frame_loop}
            behind = reached(self.blocks, self.aligned, body)
            live -= {i for i in body - behind if not self.aligned & reached(self.blocks, [i], body)}
        assert self.aligned | self.loops[self.frame_loop] & {self.frame_loop} <= live
        return live

    def _mel_gates(self) -> dict[int, float]:
        inside = self.live & self.loops[self.frame_loop]
        headers = [header for header in self.loops if header in inside - {self.frame_loop}]
        rolled = {index for header in headers for index in self.loops[header]}

        def vectors(some: set[int]) -> int:
            return sum("128" in one.suffixes for index in some for one in self._has(index, "LDG", MEL))

        assert all(vectors(self.loops[header]) for header in headers), "a loop over something else than mel weights"
        rest = sum(self.work.fused.mel.quads) - vectors(inside - rolled)
        assert headers or rest == 0, "the weights that the mel product loads do not add up"
        return {header: self.work.rounds * rest / vectors(rolled) for header in headers}
