"""Random input for the C kernels, under ASan and UBSan.

Every ``tools/fuzz/*.c`` is a harness: a file that defines ``LLVMFuzzerTestOneInput`` and checks what must always hold
(every instruction set gives the same answer, a second way to compute it agrees, nothing is read outside of its buffers).
Beside ``<name>.c`` may stand ``<name>.dict`` (tokens, one a line, in libFuzzer's format) and ``seeds/<name>/`` (files to
start from). With clang the harnesses run on libFuzzer, which looks for inputs that reach new code; with gcc on the small
driver in ``driver/``, which mutates seeds and tokens without knowing what they reach.

    python -m tools.fuzz --seconds 60              shared between all harnesses
    python -m tools.fuzz --seconds 60 csv text     only these
    python -m tools.fuzz --repeat build/fuzz/crash-csv csv
"""
