"""From numba's LLVM IR to one object file that needs nothing of numba.

:mod:`.jit` loads such a file, and :mod:`..kernels.build` links several.

numba's wrappers call CPython only where an exception passes through a kernel, and no kernel raises one: these calls
become traps. Everything but the kernels becomes internal and is dropped. The only symbols that stay open are those of
the C library (``memset`` and the like).
"""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["DOT", "LOOK_UP", "emit_object", "kernel_ir", "link"]

LOOK_UP, DOT = "latentbit_look_up", "latentbit_dot"
"""Functions of kernels (:mod:`..kernels.tbl`, :mod:`..kernels.stem_dots`) that are one instruction on some machines."""

_INSTRUCTIONS = {
    ("aarch64", LOOK_UP): f"""
declare <16 x i8> @llvm.aarch64.neon.tbl1.v16i8(<16 x i8>, <16 x i8>)
define <16 x i8> @{LOOK_UP}(<16 x i8> %row, <16 x i8> %lanes) alwaysinline {{
  %found = call <16 x i8> @llvm.aarch64.neon.tbl1.v16i8(<16 x i8> %row, <16 x i8> %lanes)
  ret <16 x i8> %found
}}""",
    ("aarch64", DOT): f"""
declare <4 x i32> @llvm.aarch64.neon.sdot.v4i32.v16i8(<4 x i32>, <16 x i8>, <16 x i8>)
define <4 x i32> @{DOT}(<4 x i32> %sums, <16 x i8> %element, <16 x i8> %weights) alwaysinline {{
  %found = call <4 x i32> @llvm.aarch64.neon.sdot.v4i32.v16i8(<4 x i32> %sums, <16 x i8> %weights, <16 x i8> %element)
  ret <4 x i32> %found
}}""",
}
"""Machine and function -> its IR there, one instruction. It takes the place of what kernels that call it bring along.

A function that no kernel at hand calls is left out: not every CPU of the machine has the instruction.
"""

_TRAP = "{\n  call void @llvm.trap()\n  unreachable\n}"


def kernel_ir(module: Any) -> dict[str, str]:
    """Return the LLVM IR of every kernel of an imported kernel module, by symbol."""
    from numba.core.ccallback import CFunc

    kernels = ((symbol, value) for symbol, value in vars(module).items() if isinstance(value, CFunc))
    return {symbol: kernel.inspect_llvm().replace(f"@{kernel.native_name}", f"@{symbol}") for symbol, kernel in kernels}


def emit_object(kernels: Mapping[str, str], machine: Any, level: int, texts: Mapping[str, str]) -> bytes:
    """Return the object file of kernels (symbol -> IR) for a target machine of llvmlite.

    ``level`` is LLVM's level of optimisation, 0 for IR that numba has optimised; ``texts`` are strings that the object
    carries, by symbol.
    """
    emitted: bytes = machine.emit_object(link(kernels, machine, level, texts))
    return emitted


def link(kernels: Mapping[str, str], machine: Any, level: int, texts: Mapping[str, str]) -> Any:
    """Return the optimised module of llvmlite that :func:`emit_object` makes an object file of."""
    import llvmlite.binding as llvm

    parsed = [llvm.parse_assembly(ir) for ir in kernels.values()]
    called = {value.name for module in parsed for value in module.functions}
    family = machine.triple.split("-")[0]
    ours = [text for (of, name), text in _INSTRUCTIONS.items() if of == family and name in called]
    whole = llvm.parse_assembly("\n".join([_frame(parsed, texts), *ours]))
    for module in (whole, *parsed):
        module.triple, module.data_layout = machine.triple, str(machine.target_data)
    for module in parsed:
        whole.link_in(module)
    for value in (*whole.functions, *whole.global_variables):
        if not value.is_declaration and value.name not in {*kernels, *texts}:
            value.linkage = "internal"
    whole.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=level))
    builder.getModulePassManager().run(whole, builder)
    return whole


def _frame(modules: Sequence[Any], texts: Mapping[str, str]) -> str:
    """Return IR that defines what the modules only declare (functions trap, variables are zero), and the strings."""
    lines = {"llvm.trap": "declare void @llvm.trap()"}
    for module in modules:
        defined = {value.name for value in module.functions if not value.is_declaration}
        for value in module.functions:
            if value.is_declaration and not value.name.startswith("llvm.") and value.name not in defined:
                head = str(value).strip().splitlines()[-1]
                lines[value.name] = (
                    f"define{head.removeprefix('declare')[: head.rindex(')') - len('declare') + 1]} {_TRAP}"
                )
        for value in module.global_variables:
            if value.is_declaration:
                lines[value.name] = f"@{value.name} = global i8 0"
    for symbol, text in texts.items():
        lines[symbol] = f'@{symbol} = constant [{len(text.encode()) + 1} x i8] c"{text}\\00"'
    return "\n".join(lines.values())
