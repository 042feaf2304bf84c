"""What instructions compute of their operands {0}, {1}, ... as Python; functions are those of `arithmetic`."""

COMPARISONS = {
    "eq": "{0} == {1}",
    "ne": "({0} < {1}) | ({0} > {1})",  # false if one is NaN, as the others so far
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "equ": "~(({0} < {1}) | ({0} > {1}))",  # these are true if one is NaN
    "neu": "{0} != {1}",
    "ltu": "~({0} >= {1})",
    "leu": "~({0} > {1})",
    "gtu": "~({0} <= {1})",
    "geu": "~({0} < {1})",
    "num": "({0} == {0}) & ({1} == {1})",
    "nan": "({0} != {0}) | ({1} != {1})",
}
OF_FLOATS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "fma": "fma({0}, {1}, {2})",
    "neg": "-{0}",
    "sqrt": "np.sqrt({0})",
    "min": "smaller({0}, {1})",
    "max": "larger({0}, {1})",
    "lg2": "wave.lg2({0})",
    "mov": "{0}",
}
OF_INTEGERS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "mad": "{0} * {1} + {2}",
    "div": "quotient({0}, {1})",
    "rem": "remainder({0}, {1})",
    "neg": "-{0}",
    "min": "np.minimum({0}, {1})",
    "max": "np.maximum({0}, {1})",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "xor": "{0} ^ {1}",
    "not": "~{0}",
    "bfi": "bfi({0}, {1}, {2}, {3})",
    "prmt": "prmt({0}, {1}, {2})",
    "mov": "{0}",
    "cvta": "{0}",
}
ROUNDED = {"rzi": "np.trunc", "rni": "np.rint"}
