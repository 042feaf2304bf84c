"""The machine under it all: files, devices, threads, progress; what its parts raise, as one line."""
