"""The registry for programs on asyncio or trio (extra `async`): `AsyncRegistrationPipeline`, its parts and iterators.

The same names with the same arguments as `RegistrationPipeline` and its parts, generated from them, so that they can't
diverge. Calls become awaitable, iterators asynchronous (`async for`). `threads` has the rules of cancellation, `pipeline`
the registry, `parts` the generation of its parts, `following` the readers of a feed.
"""

from __future__ import annotations

try:
    import anyio as anyio
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "AsyncRegistrationPipeline needs anyio. Install it: pip install '.[async]'", name="anyio"
    ) from missing
