"""The sync twins of async modules and tests: ``something_async.py`` is written by hand, ``something_sync.py`` made from it.

Works on tokens: ``async`` and ``await`` go, names change by one table (rules.py), in code, strings and comments alike;
ruff puts the result in order. A rule that nothing uses is an error: the table says what is true of the project today.
What renaming cannot say belongs into ``mailgenius.rt``, which has the same names twice.

    python -m tools.twin            write all twins
    python -m tools.twin --check    write nothing; fail if one is stale or a rule unused
"""
