"""PostgreSQL, MariaDB, Redis and RabbitMQ of Debian's packages: each an own process, in a folder and on a port of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 90.0

HOW_TO_INSTALL = "make services"


class ServiceMissing(Exception):
    """The program is not installed; the message says what would."""


# pytest-randomly gives each process the same seed, and with it the same "random" ports.
_chance = random.SystemRandom()


def free_port() -> int:
    """A port below those that the system gives to clients: none of them can take it before the server does."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = _chance.randrange(10_000, max(first, 20_000))
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def program(name: str, *places: str) -> str:
    """Return the path of a program. ServiceMissing when it is in none of the places."""
    for place in places:
        for folder in sorted(Path("/").glob(place.lstrip("/")), reverse=True):
            if (folder / name).exists():
                return str(folder / name)
    found = shutil.which(name)
    if found is None:
        raise ServiceMissing(f"{name} is not installed: {HOW_TO_INSTALL}")
    return found


class Service:
    """One server process, with all that it starts itself."""

    label = "service"
    needs: tuple[tuple[str, ...], ...] = ()
    """Programs, each with the folders that Debian puts them in."""

    @classmethod
    def is_installed(cls) -> bool:
        try:
            return bool([program(*needed) for needed in cls.needs])
        except ServiceMissing:
            return False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.label}.log"

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {**os.environ, "LC_ALL": "C"}

    def is_ready(self) -> bool:
        return answers(self.port)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.owner(),
            )
        wait_until(self.is_ready, f"{self.label} to answer", self.process, self.log)

    def owner(self) -> dict[str, str]:
        return {}

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def restart_empty(self) -> None:
        """Come back without anything that was in it."""
        raise NotImplementedError


def wait_until(
    ready: Callable[[], bool],
    what: str,
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-2000:] if log is not None and log.exists() else ""
            raise AssertionError(f"Waited in vain for {what}. {said}")
        time.sleep(0.05)


class PostgreSQL(Service):
    """A cluster without a password, for this machine alone; its data need not survive a power cut."""

    label = "postgresql"
    needs = (("postgres", "/usr/lib/postgresql/*/bin", "/usr/local/bin"),)
    SPEED = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.bin = Path(program(*self.needs[0])).resolve().parent
        # It refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.data = folder / "data"

    @property
    def url(self) -> str:
        return f"postgres://{self.user}@127.0.0.1:{self.port}/bridge"

    @property
    def settings(self) -> dict[str, object]:
        """Django's `DATABASES` entry."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "bridge",
            "USER": self.user,
            "HOST": "127.0.0.1",
            "PORT": self.port,
        }

    def owner(self) -> dict[str, str]:
        return {"user": self.user, "group": self.user, "extra_groups": []} if os.geteuid() == 0 else {}  # type: ignore[dict-item]

    def command(self) -> list[str]:
        options = [part for setting in self.SPEED for part in ("-c", setting)]
        sockets = ("-c", f"unix_socket_directories={self.folder}", "-c", "listen_addresses=127.0.0.1")
        return [str(self.bin / "postgres"), "-D", str(self.data), "-p", str(self.port), *sockets, *options]

    def start(self) -> None:
        if not self.data.exists():
            if os.geteuid() == 0:
                shutil.chown(self.folder, self.user, self.user)
            options = (
                "-D",
                str(self.data),
                "-U",
                self.user,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
                "--no-locale",
            )
            self._run("initdb", *options)
        super().start()
        wait_until(self._has_database, "the database")

    def _has_database(self) -> bool:
        place = ("-h", "127.0.0.1", "-p", str(self.port), "-U", self.user)
        with contextlib.suppress(subprocess.CalledProcessError):
            found = self._run(
                "psql", *place, "-Atc", "SELECT 1 FROM pg_database WHERE datname = 'bridge'", "postgres"
            )
            if not found.strip():
                self._run("createdb", *place, "bridge")
            return True
        return False

    def _run(self, name: str, *arguments: str) -> bytes:
        command = [str(self.bin / name), *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, cwd=self.folder, env=self.environment(), **self.owner()
        ).stdout


class MariaDB(Service):
    """A server with a passwordless root, for this machine alone; its data need not survive a power cut."""

    label = "mariadb"
    SPEED = ("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--max-connections=300")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = folder / "data"

    @property
    def settings(self) -> dict[str, object]:
        """Django's `DATABASES` entry."""
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "bridge",
            "USER": "root",
            "HOST": "127.0.0.1",
            "PORT": self.port,
            "OPTIONS": {"charset": "utf8mb4"},
        }

    def command(self) -> list[str]:
        place = (f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.folder}/socket")
        return [program("mariadbd", "/usr/sbin"), *self._common(), *place, *self.SPEED]

    def _common(self) -> list[str]:
        user = pwd.getpwuid(os.geteuid()).pw_name
        # A server that starts removes the temporary tables that others have in the same folder.
        folders = (f"--datadir={self.data}", f"--tmpdir={self.folder}")
        return ["--no-defaults", *folders, f"--user={user}", "--character-set-server=utf8mb4"]

    def start(self) -> None:
        if not self.data.exists():
            make = [program("mariadb-install-db", "/usr/bin"), *self._common()]
            make += ["--auth-root-authentication-method=normal", "--skip-test-db"]
            subprocess.run(make, check=True, capture_output=True, cwd=self.folder, env=self.environment())
        super().start()
        connect = [program("mariadb", "/usr/bin"), "--no-defaults", "-h127.0.0.1", f"-P{self.port}", "-uroot"]
        subprocess.run(
            [*connect, "-e", "CREATE DATABASE IF NOT EXISTS bridge"], check=True, capture_output=True
        )


class Redis(Service):
    """A broker that forgets everything when it ends."""

    label = "redis"
    needs = (("redis-server", "/usr/bin"),)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder))
        return [program(*self.needs[0]), *place, "--save", "", "--appendonly", "no"]

    def restart_empty(self) -> None:
        self.kill()
        self.start()


class RabbitMQ(Service):
    """A broker with an Erlang port mapper of its own, so that nothing of it is left behind."""

    label = "rabbitmq"
    needs = (
        ("rabbitmq-server", "/usr/lib/rabbitmq/bin", "/usr/sbin"),
        ("epmd", "/usr/lib/erlang/erts-*/bin"),
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.epmd_port, self.dist_port = free_port(), free_port()
        self.mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @property
    def mnesia(self) -> Path:
        return self.folder / "mnesia"

    def command(self) -> list[str]:
        # Debian's own script would change to the user rabbitmq, who may not read this folder.
        return [program(*self.needs[0])]

    def environment(self) -> dict[str, str]:
        plugins = self.folder / "enabled_plugins"
        plugins.write_text("[].\n")
        return {
            **super().environment(),
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"bridge{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.mnesia),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def is_ready(self) -> bool:
        return "completed with" in self.log.read_text(errors="replace").rpartition("Starting broker")[
            2
        ] and answers(self.port)

    def start(self) -> None:
        # Started by the broker, it would go on as a daemon.
        self.mapper = subprocess.Popen(
            [program(*self.needs[1]), "-port", str(self.epmd_port)],
            env=self.environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: answers(self.epmd_port), "epmd to answer", self.mapper)
        super().start()

    def kill(self) -> None:
        super().kill()
        if self.mapper is not None:
            self.mapper.kill()
            self.mapper.wait()
            self.mapper = None

    def restart_empty(self) -> None:
        self.kill()
        shutil.rmtree(self.mnesia, ignore_errors=True)
        self.start()


@contextmanager
def service(kind: type[Service]) -> Iterator[Service]:
    """Run a server in a new folder, and leave neither behind. ServiceMissing where it is not installed."""
    # Not pytest's folder: only its owner may enter that, and PostgreSQL runs as another user.
    folder = Path(tempfile.mkdtemp(prefix=f"bridge-{kind.label}-"))
    running = kind(folder)
    try:
        running.start()
        yield running
    finally:
        running.kill()
        shutil.rmtree(folder, ignore_errors=True)
