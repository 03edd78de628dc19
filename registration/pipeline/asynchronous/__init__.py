"""The registry for programs on asyncio or trio (extra `async`): `AsyncRegistrationPipeline`, and what it hands out.

The same names with the same arguments as `RegistrationPipeline` and its parts; each is made of those, so that they can't say
different things. What is called there is awaited here, what is iterated there is iterated with `async for` here. `threads` has the
rules of cancelling, `pipeline` the registry, `parts` how its parts are made, `following` what follows a feed.
"""

from __future__ import annotations

try:
    import anyio as anyio
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "AsyncRegistrationPipeline needs anyio. Install it: pip install '.[async]'", name="anyio"
    ) from missing
