"""Requests that may fail for a moment: what an error of a remote file system means, and patience.

fsspec's file systems raise what they like: Python's own errors, those of their client library,
and S3's codes inside either. Here each becomes one of a few answers.
"""

from __future__ import annotations

import enum
import errno
import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from calstore.errors import NO_ROOM

ATTEMPTS: Final = 12
"""With the waits between them about twenty seconds, which outlast a server that throttles."""

_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 5.0

_Result = TypeVar("_Result")


class Answer(enum.Enum):
    """What an error says about the request."""

    ABSENT = "there is nothing of that name"
    NO_BUCKET = "there is not even a bucket"
    EXISTS = "the name is taken"
    EMPTY_RANGE = "the range begins behind the end"
    REFUSED = "it is not permitted"
    NO_ROOM = "there is no room"
    SENSELESS = "it will never be answered"
    LATER = "it may be answered another time"


# S3's codes (docs.aws.amazon.com, "Error responses"); of a HEAD there is only the status.
_CODES: Final = {
    "NoSuchBucket": Answer.NO_BUCKET,
    "NoSuchKey": Answer.ABSENT,
    "404": Answer.ABSENT,
    "PreconditionFailed": Answer.EXISTS,
    "412": Answer.EXISTS,
    "InvalidRange": Answer.EMPTY_RANGE,
    "416": Answer.EMPTY_RANGE,
    "AccessDenied": Answer.REFUSED,
    "403": Answer.REFUSED,
    "InvalidAccessKeyId": Answer.REFUSED,
    "SignatureDoesNotMatch": Answer.REFUSED,
    "ExpiredToken": Answer.REFUSED,
    "QuotaExceeded": Answer.NO_ROOM,
    # Two conditional puts at once: one of them shall ask again.
    "ConditionalRequestConflict": Answer.LATER,
    "OperationAborted": Answer.LATER,
    "409": Answer.LATER,
}
_NEVER_PERMITTED: Final = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "ProfileNotFound"}
)
# By name, as botocore is not there without the extra s3: a bucket's name that cannot be one.
_NEVER_SENT: Final = frozenset({"ParamValidationError"})
_SENSELESS_NUMBERS: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENAMETOOLONG})


def answer_of(error: BaseException) -> Answer:
    """What an error of a file system of fsspec means."""
    known = _CODES.get(_code(error))
    if known is not None:
        return known
    match error:
        case FileExistsError():
            return Answer.EXISTS
        case FileNotFoundError() | NotADirectoryError() | IsADirectoryError():
            return Answer.ABSENT
        case PermissionError():
            return Answer.REFUSED
        case OSError(errno=number) if number in NO_ROOM:
            return Answer.NO_ROOM
        case OSError(errno=number) if number in _SENSELESS_NUMBERS:
            return Answer.SENSELESS
    name = type(error).__name__
    if name in _NEVER_PERMITTED:
        return Answer.REFUSED
    # A file system that has no mode "create" says so in one of three ways.
    if name in _NEVER_SENT or isinstance(error, ValueError | TypeError | NotImplementedError):
        return Answer.SENSELESS
    return Answer.LATER


def patiently(
    request: Callable[[], _Result],
    *,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> _Result:
    """The result of a request, made again with growing waits while its errors say `Answer.LATER`.

    The last error is raised as it came. A request that was answered and whose answer was lost is
    made again too, so a create may find its own file.
    """
    wait_s = _FIRST_WAIT_S
    for _ in range(attempts - 1):
        try:
            return request()
        except Exception as error:
            if answer_of(error) is not Answer.LATER:
                raise
        # Of many writers that were turned away, not all shall come back at once.
        sleep(wait_s * random.uniform(0.5, 1))
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
    return request()


def _code(error: BaseException) -> str:
    """The code by which S3 says what is wrong, of an error or of what it was made from."""
    for each in (error, error.__cause__):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""
