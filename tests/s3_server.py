"""moto's server, with a conditional put that is one step, as S3's is.

moto looks whether there is a file, and puts it some lines later: of requests in two threads both
may win (6 of 199 races of 8, with threads that switch each microsecond). Same options as moto's.
"""

from __future__ import annotations

import threading
from typing import Any

from moto.s3.responses import S3Response
from moto.server import main

_PUTTING = threading.Lock()
_put_object = S3Response.put_object


def put_object(response: S3Response) -> Any:
    """Look and put, while nobody else does."""
    with _PUTTING:
        return _put_object(response)


if __name__ == "__main__":
    S3Response.put_object = put_object  # type: ignore[method-assign]
    main()
