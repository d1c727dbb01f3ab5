"""Becomes the server that it is told to run, tied to us: on Linux the kernel ends it when we die, however we die."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # died before we were tied
            return
    try:
        os.execvp(command[0], command)  # noqa: S606  # the operator's command
    except OSError as wrong:
        sys.stderr.write(f"{command[0]} cannot be run: {wrong.strerror}\n")
        raise SystemExit(127) from None


if __name__ == "__main__":
    main()
