"""Who acts, and when: the only reader of the environment and the clock."""

from __future__ import annotations

import os
import pwd
import secrets
import socket
from datetime import UTC, datetime

from calstore.model.records import Stamp, Who


def stamp(why: str = "") -> Stamp:
    """Who acts now, on this host, and why.

    The account is the uid's. ``$CALSTORE_USER`` names the person behind an operator account
    that several share; both are kept.
    """
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    who = Who(user, uid, socket.gethostname(), os.environ.get("CALSTORE_USER") or None)
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return Stamp(who, when, why, secrets.token_bytes(8))
