"""Connections to one LDAP server: in threads, few, each call with a limit, and every failure in the drivers' words."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import ldap
from ldap.ldapobject import LDAPObject

from pileus.drivers.directory.ldap.certificates import complaint
from pileus.drivers.directory.protocol import Settings, Taken
from pileus.drivers.errors import Missing, Refused, Unreachable

T = TypeVar("T")

PATIENCE = 5
"""Seconds for a connection and for an answer, where the settings say nothing."""
MOST = 8
"""Connections and calls at a time, whatever the settings say."""
MOST_HUNG = 32
"""Threads that a server may keep hanging in a call without an end; then no further one is sent there."""
RESTED = 120.0
"""Seconds after which a connection that nobody used is no longer trusted: firewalls forget them without a word."""
AVOIDED = 30.0
"""Seconds in which a server that did not answer is asked last."""
ALIVE = (
    (ldap.OPT_X_KEEPALIVE_IDLE, 30),
    (ldap.OPT_X_KEEPALIVE_INTERVAL, 10),
    (ldap.OPT_X_KEEPALIVE_PROBES, 3),
)
"""By which the kernel ends connections to a machine that is gone, and what hangs on them."""
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
    except ldap.STRONG_AUTH_REQUIRED as error:
        raise Refused(f"LDAP server {url} wants TLS: name it as ldaps://, or set use_tls") from error
    except ldap.OPERATIONS_ERROR as error:
        raise Refused(
            f"LDAP server {url} refused: {said(error)} (Active Directory shows nothing to who is not logged in: "
            "set user and password)"
        ) from error
    except ldap.LDAPError as error:
        raise Refused(f"LDAP server {url} refused: {said(error)}") from error


class Kept(NamedTuple):
    """When it was opened, and when it was last used, by the monotonic clock."""

    born: float
    used: float
    connection: LDAPObject


class Connections:
    """Of one directory. Those of the configured user are kept and used again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.urls = [url.strip() for url in settings.url.split(",") if url.strip()]
        self.limit = settings.connection_timeout if settings.connection_timeout > 0 else PATIENCE
        self._slots = asyncio.Semaphore(max(1, min(settings.pool_size, MOST)))
        self._lock = threading.Lock()
        self._idle: list[Kept] = []
        self._failed: dict[str, float] = {}
        """When a server did not answer, by its url."""
        self._opening: dict[LDAPObject, tuple[str, float]] = {}
        """With whom a connection is being made, and since when."""
        self._running = 0
        self._closed = False

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
        self._closed = True
        with self._lock:
            idle, self._idle = self._idle, []
        for kept in idle:
            threading.Thread(target=end, args=(kept.connection,), daemon=True).start()

    async def _in_thread(self, work: Callable[[], T], seconds: float) -> T:
        """A thread that hangs longer than libldap's own limits (it has none for a server that is silent in the middle of
        a TLS handshake) is left behind, and neither the others nor the end of the process wait for it."""
        url = self._settings.url
        seconds = seconds or self.limit * (len(self.urls) + 2)
        if self._closed:  # because the settings have changed
            raise Unreachable(f"LDAP server {url} is not asked any more")
        if self._running >= MOST_HUNG:
            raise Unreachable(f"LDAP server {url} does not answer: {self._running} calls hang")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds), self._slots:
                threading.Thread(target=self._go, args=(work, answer), name="ldap", daemon=True).start()
                return await answer
        except TimeoutError:
            raise Unreachable(f"LDAP server {url} did not answer for {seconds:.0f} s") from None

    def _go(self, work: Callable[[], T], answer: "asyncio.Future[T]") -> None:
        with self._lock:
            self._running += 1
        try:
            with worded(self._settings.url):
                result, failed = [work()], None
        except BaseException as error:
            result, failed = [], error
        with self._lock:
            self._running -= 1

        def tell() -> None:
            if answer.done():
                return
            if failed is not None:
                answer.set_exception(failed)
            else:
                answer.set_result(result[0])

        with suppress(RuntimeError):  # the loop has ended: nobody waits
            answer.get_loop().call_soon_threadsafe(tell)

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
        kept = self._take()
        if kept is not None:
            with suppress(*AWAY):  # it died while nobody used it, or its server did
                return self._work(work, kept.born, kept.connection)
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

    def _take(self) -> "Kept | None":
        now = time.monotonic()
        oldest = now - self._settings.pool_connection_lifetime
        with self._lock:
            good = [kept for kept in self._idle if kept.born > oldest and kept.used > now - RESTED]
            old = [kept for kept in self._idle if kept not in good]
            found = good.pop() if good else None
            self._idle = good
        for kept in old:
            end(kept.connection)
        return found

    def _keep(self, born: float, connection: LDAPObject) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(Kept(born, time.monotonic(), connection))
                return
        end(connection)

    def _in_turn(self) -> list[str]:
        """As configured, but those that did not answer lately come last."""
        since = time.monotonic() - AVOIDED
        with self._lock:
            self._failed = {url: at for url, at in self._failed.items() if at > since}
            hanging = {url: at for url, at in self._opening.values() if at < time.monotonic() - self.limit}
            self._failed |= hanging
            return sorted(self.urls, key=lambda url: self._failed.get(url, 0.0))

    def _open(self, user: str, password: str) -> LDAPObject:
        """Bound, at the first server that answers."""
        failed: ldap.LDAPError | None = None
        for url in self._in_turn():
            connection = self._made(url)
            with self._lock:
                self._opening[connection] = (url, time.monotonic())
            try:
                if self._settings.use_tls and not encrypted(url):
                    connection.start_tls_s()
                connection.simple_bind_s(user, password)
            except AWAY as error:
                end(connection)
                failed = self._explained(url, error)
                with self._lock:
                    self._failed[url] = time.monotonic()
            except BaseException:
                end(connection)
                raise
            else:
                return connection
            finally:
                with self._lock:
                    del self._opening[connection]
        raise failed or ldap.SERVER_DOWN({"desc": "no url is configured"})

    def _explained(self, url: str, error: ldap.LDAPError) -> ldap.LDAPError:
        """libldap does not say when it is the certificate that it does not like."""
        if not isinstance(error, ldap.SERVER_DOWN) or not encrypted(url):
            return error
        found = complaint(url, self._settings.tls_cacertfile, self._settings.tls_cacertdir, self.limit)
        return ldap.SERVER_DOWN({"desc": said(error), "info": found}) if found else error

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
        options += ALIVE
        if settings.use_tls or encrypted(url):
            options.append((ldap.OPT_X_TLS_REQUIRE_CERT, CERTIFICATES[settings.tls_req_cert]))
            if settings.tls_cacertfile:
                options.append((ldap.OPT_X_TLS_CACERTFILE, settings.tls_cacertfile))
            if settings.tls_cacertdir:
                options.append((ldap.OPT_X_TLS_CACERTDIR, settings.tls_cacertdir))
            options.append((ldap.OPT_X_TLS_NEWCTX, 0))  # last: it reads the others
        try:
            for option, value in options:
                connection.set_option(option, value)
        except ValueError as error:
            place = settings.tls_cacertfile or settings.tls_cacertdir
            raise Refused(f"the certificates of who signs LDAP servers' cannot be read: {place}") from error
        return connection


def encrypted(url: str) -> bool:
    """From the first byte."""
    return url.lower().startswith("ldaps:")


def end(connection: LDAPObject) -> None:
    """Whatever state it is in."""
    try:
        connection.unbind_s()
    except ldap.LDAPError:
        return
