"""The machine code of the kernels, counted; README.md beside this file says how."""
