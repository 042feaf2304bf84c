"""What several tests share: signals, made recordings, made models, the emulated kernels, servers, a browser."""
