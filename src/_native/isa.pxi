# The reason table and the choice of instruction set.
cdef extern from *:
    """
    #define MG_REASON(name, code, text) code,
    static const char *const mg_reason_codes[] = {
    #include "reasons.h"
    };
    #undef MG_REASON
    #define MG_REASON(name, code, text) text,
    static const char *const mg_reason_texts[] = {
    #include "reasons.h"
    };
    #undef MG_REASON
    #define MG_REASONS ((int)(sizeof mg_reason_codes / sizeof *mg_reason_codes))
    """
    const char *mg_reason_codes[1]
    const char *mg_reason_texts[1]
    int MG_REASONS

__all__ += ["REASONS", "REASON_TEXTS", "isa", "isas", "force_isa"]

REASONS = tuple([mg_reason_codes[i].decode() for i in range(MG_REASONS)])
REASON_TEXTS = tuple([mg_reason_texts[i].decode() for i in range(MG_REASONS)])


def isa():
    """Name of the instruction set in use."""
    return mg_isa_name(mg_isa_current()).decode()


def isas():
    """Names of the instruction sets this machine can run, simplest first."""
    return [mg_isa_name(<mg_isa>i).decode() for i in range(MG_ISA_COUNT) if mg_isa_supported(<mg_isa>i)]


def force_isa(name):
    """Use this instruction set from now on, in the whole process (tests and benchmarks). ValueError if it can't run."""
    for i in range(MG_ISA_COUNT):
        if mg_isa_name(<mg_isa>i).decode() == name and mg_isa_force(<mg_isa>i) == 0:
            return
    raise ValueError(f"this machine cannot run {name!r}; it can run {', '.join(isas())}")
