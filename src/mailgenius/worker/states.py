"""States of a leased job. The keeper reads them when its worker has died. Pure."""

__all__ = ["BEGUN", "DONE", "ENDED", "GONE", "SIZE", "WAITING"]

WAITING = 0
BEGUN = 1  # it has stalled, if the worker dies
DONE = 2  # that is all there is to say of it
ENDED = 3  # what became of it is to be settled; it is run again, if the worker dies
GONE = 4  # the lease is not for it any more

SIZE = 1024  # positions of a chunk (lanes.lua)
