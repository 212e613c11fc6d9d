"""What differs between asyncio and threads, under the same names twice: ``aio`` and ``threads``.

Modules named ``…_async.py`` import ``aio``; their generated twins import ``threads`` (tools/twin).
"""
