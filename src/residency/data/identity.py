"""Stand-ins for patient and study identifiers: equal people stay equal, and nobody can be named.

An identifier is hashed with a salt that never leaves this machine: RESIDENCY_SALT where it is set,
else 32 random bytes made once and kept in the user's configuration folder. Without the salt the
short numbers that hospitals give out could be found by trying them all. The same salt on another
machine gives the same groups there, and so the same split.
"""

import functools
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from residency.errors import DataError

VARIABLE = "RESIDENCY_SALT"


def stand_in(identifier: str) -> str:
    """16 hexadecimal digits for an identifier, "" for an empty one; spaces around it do not count.

    Raises:
        DataError: no salt is set and none can be kept.
    """
    text = identifier.strip()
    if not text:
        return ""
    given = os.environ.get(VARIABLE)
    salt = given.encode() if given else _kept_salt()
    return hmac.new(salt, text.encode(), hashlib.sha256).hexdigest()[:16]


def salt_file() -> Path:
    """Where the salt is kept; readable by its owner alone."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "residency" / "salt"


@functools.cache
def _kept_salt() -> bytes:
    path = salt_file()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"salt.{os.getpid()}")
            with open(draft, "xb", opener=functools.partial(os.open, mode=0o600)) as stream:
                stream.write(secrets.token_bytes(32))
            try:
                os.link(draft, path)  # whoever links first decides, for all processes
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"No salt for patient identifiers can be kept in {path} ({error.strerror}). Set "
            f"{VARIABLE} to a secret text."
        ) from None
