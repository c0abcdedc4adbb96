"""Connections to one LDAP server: in threads, few, each call with a limit, and every failure in the drivers' words."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import ldap
from ldap.ldapobject import LDAPObject

from pileus.drivers.directory.protocol import Settings, Taken
from pileus.drivers.errors import Missing, Refused, Unreachable

T = TypeVar("T")

PATIENCE = 5
"""Seconds for a connection and for an answer, where the settings say nothing."""
MOST = 8
"""Connections and threads, whatever the settings say."""
AWAY = (
    ldap.SERVER_DOWN,
    ldap.TIMEOUT,
    ldap.CONNECT_ERROR,
    ldap.UNAVAILABLE,
    ldap.BUSY,
    ldap.TIMELIMIT_EXCEEDED,
)
CERTIFICATES = {
    "demand": ldap.OPT_X_TLS_DEMAND,
    "allow": ldap.OPT_X_TLS_ALLOW,
    "never": ldap.OPT_X_TLS_NEVER,
}
ALIASES = {
    "never": ldap.DEREF_NEVER,
    "searching": ldap.DEREF_SEARCHING,
    "always": ldap.DEREF_ALWAYS,
    "finding": ldap.DEREF_FINDING,
}


def said(error: ldap.LDAPError) -> str:
    """The server's own words."""
    about = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return ": ".join(str(about[part]) for part in ("desc", "info") if about.get(part)) or str(error)


@contextmanager
def worded(url: str) -> Iterator[None]:
    try:
        yield
    except AWAY as error:
        raise Unreachable(f"LDAP server {url} does not answer: {said(error)}") from error
    except (ldap.NO_SUCH_OBJECT, ldap.INVALID_DN_SYNTAX) as error:
        raise Missing(f"LDAP server {url} has no such entry: {said(error)}") from error
    except ldap.ALREADY_EXISTS as error:
        raise Taken(f"LDAP server {url} has such an entry: {said(error)}") from error
    except ldap.INVALID_CREDENTIALS as error:
        raise Refused(f"LDAP server {url} does not take the configured user and password") from error
    except ldap.SIZELIMIT_EXCEEDED as error:
        raise Refused(
            f"LDAP server {url} shows no more entries at once: set page_size below its limit"
        ) from error
    except ldap.LDAPError as error:
        raise Refused(f"LDAP server {url} refused: {said(error)}") from error


class Connections:
    """Of one directory. Those of the configured user are kept and used again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.urls = [url.strip() for url in settings.url.split(",") if url.strip()]
        self.limit = settings.connection_timeout if settings.connection_timeout > 0 else PATIENCE
        size = max(1, min(settings.pool_size, MOST))
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="ldap")
        self._lock = threading.Lock()
        self._idle: list[tuple[float, LDAPObject]] = []

    async def run(self, work: Callable[[LDAPObject], T], *, write: bool = False, seconds: float = 0) -> T:
        """As the configured user. What only reads is tried again where a kept connection turns out to be dead."""
        return await self._in_thread(lambda: self._fresh(work) if write else self._kept(work), seconds)

    async def bind(self, dn: str, password: str) -> bool:
        """Whether the directory takes the password. An empty one would be no proof at all, and is false."""
        if not password or not dn:
            return False
        return await self._in_thread(lambda: self._bound(dn, password), 0)

    async def bound(self, dn: str, password: str, work: Callable[[LDAPObject], T]) -> T:
        """As somebody else."""

        def go() -> T:
            connection = self._open(dn, password)
            try:
                return work(connection)
            finally:
                end(connection)

        return await self._in_thread(go, 0)

    async def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            self._threads.submit(end, connection)
        self._threads.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T], seconds: float) -> T:
        """A thread that hangs longer than libldap's own limits is left behind; there are few of them."""
        seconds = seconds or self.limit * (len(self.urls) + 2)

        def go() -> T:
            with worded(self._settings.url):
                return work()

        loop = asyncio.get_running_loop()
        try:
            asked = loop.run_in_executor(self._threads, go)
        except RuntimeError as error:  # closed meanwhile, because the settings have changed
            raise Unreachable(f"LDAP server {self._settings.url} is not asked any more") from error
        try:
            return await asyncio.wait_for(asked, seconds)
        except TimeoutError:
            raise Unreachable(f"LDAP server {self._settings.url} did not answer for {seconds} s") from None

    def _bound(self, dn: str, password: str) -> bool:
        try:
            connection = self._open(dn, password)
        except (
            ldap.INVALID_CREDENTIALS,
            ldap.INVALID_DN_SYNTAX,
            ldap.NO_SUCH_OBJECT,
            ldap.INAPPROPRIATE_AUTH,
            ldap.UNWILLING_TO_PERFORM,
            ldap.INSUFFICIENT_ACCESS,
            ldap.CONSTRAINT_VIOLATION,
        ):
            return False
        end(connection)
        return True

    def _fresh(self, work: Callable[[LDAPObject], T]) -> T:
        connection = self._open(self._settings.user, self._settings.password)
        try:
            return work(connection)
        finally:
            end(connection)

    def _kept(self, work: Callable[[LDAPObject], T]) -> T:
        born, connection = self._take()
        if connection is not None:
            try:
                return self._work(work, born, connection)
            except (ldap.SERVER_DOWN, ldap.UNAVAILABLE):
                pass  # it died while nobody used it
        return self._work(work, time.monotonic(), self._open(self._settings.user, self._settings.password))

    def _work(self, work: Callable[[LDAPObject], T], born: float, connection: LDAPObject) -> T:
        try:
            result = work(connection)
        except (ldap.NO_SUCH_OBJECT, ldap.INVALID_DN_SYNTAX):
            self._keep(born, connection)
            raise
        except BaseException:
            end(connection)
            raise
        self._keep(born, connection)
        return result

    def _take(self) -> tuple[float, LDAPObject | None]:
        oldest = time.monotonic() - self._settings.pool_connection_lifetime
        with self._lock:
            old = [connection for born, connection in self._idle if born <= oldest]
            self._idle = [kept for kept in self._idle if kept[0] > oldest]
            found = self._idle.pop() if self._idle else (0.0, None)
        for connection in old:
            end(connection)
        return found

    def _keep(self, born: float, connection: LDAPObject) -> None:
        with self._lock:
            self._idle.append((born, connection))

    def _open(self, user: str, password: str) -> LDAPObject:
        """Bound, at the first server that answers."""
        failed: ldap.LDAPError | None = None
        for url in self.urls:
            connection = self._made(url)
            try:
                if self._settings.use_tls:
                    connection.start_tls_s()
                connection.simple_bind_s(user, password)
            except AWAY as error:
                end(connection)
                failed = error
            except BaseException:
                end(connection)
                raise
            else:
                return connection
        raise failed or ldap.SERVER_DOWN({"desc": "no url is configured"})

    def _made(self, url: str) -> LDAPObject:
        settings = self._settings
        connection = ldap.initialize(url)
        options: list[tuple[int, Any]] = [
            (ldap.OPT_PROTOCOL_VERSION, ldap.VERSION3),
            (ldap.OPT_NETWORK_TIMEOUT, self.limit),
            (ldap.OPT_TIMEOUT, self.limit),
            (ldap.OPT_REFERRALS, 1 if settings.chase_referrals else 0),
        ]
        if settings.alias_dereferencing in ALIASES:
            options.append((ldap.OPT_DEREF, ALIASES[settings.alias_dereferencing]))
        if settings.use_tls or url.lower().startswith("ldaps"):
            options.append((ldap.OPT_X_TLS_REQUIRE_CERT, CERTIFICATES[settings.tls_req_cert]))
            if settings.tls_cacertfile:
                options.append((ldap.OPT_X_TLS_CACERTFILE, settings.tls_cacertfile))
            if settings.tls_cacertdir:
                options.append((ldap.OPT_X_TLS_CACERTDIR, settings.tls_cacertdir))
            options.append((ldap.OPT_X_TLS_NEWCTX, 0))  # last: it reads the others
        for option, value in options:
            connection.set_option(option, value)
        return connection


def end(connection: LDAPObject) -> None:
    """Whatever state it is in."""
    try:
        connection.unbind_s()
    except ldap.LDAPError:
        return
