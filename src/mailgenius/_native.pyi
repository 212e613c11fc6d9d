"""Types of the compiled core. Each section mirrors one .pxi of src/_native."""

# isa.pxi
REASONS: tuple[str, ...]
REASON_TEXTS: tuple[str, ...]

def isa() -> str: ...
def isas() -> list[str]: ...
def force_isa(name: str) -> None: ...

__all__ = ["REASONS", "REASON_TEXTS", "force_isa", "isa", "isas"]
