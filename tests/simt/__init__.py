"""CUDA kernels on a CPU, for tests: `simt.emulator` launches them, `simt.compiler` compiles them ahead."""
