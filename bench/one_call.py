"""
The HTTP request of the benchmark's workflow, as somebody would write it for `docker run`: with the runner's HTTP
library, through the egress proxy's socket. Arguments: the URL, and the grant for the proxy.
"""

import asyncio
import sys
from urllib.parse import urlsplit

import h11


async def main(url: str, grant: str) -> int:
    reader, writer = await asyncio.open_unix_connection("/run/wormhole/egress.sock")
    http = h11.Connection(h11.CLIENT)
    headers = [
        ("Accept", "application/json, */*;q=0.5"),
        ("User-Agent", "wormhole-runner"),
        ("Host", urlsplit(url).netloc),
        ("Accept-Encoding", "gzip"),
        ("Connection", "close"),
        ("Proxy-Authorization", f"Bearer {grant}"),
    ]
    writer.write(http.send(h11.Request(method="GET", target=url, headers=headers)))
    writer.write(http.send(h11.EndOfMessage()))
    status = 0
    while not isinstance(event := http.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
    writer.close()
    return status


status = asyncio.run(main(sys.argv[1], sys.argv[2]))
if status != 200:
    sys.exit(f"the far side answered {status}")
