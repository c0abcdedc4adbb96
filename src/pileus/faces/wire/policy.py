"""The oslo.policy rule language, compiled once to closures; operators keep their rules and files.

A rule that cannot be understood denies, as does a name that no rule has; rules that refer to themselves in a
circle are refused when they are loaded.
"""

import ast
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
import yaml

log = structlog.get_logger("pileus.policy")

Check = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
Rule = str | Sequence[Any] | None
WILD = re.compile(r"%\(([^)]*)\)s")
FALLBACK = "default"
"""The rule that stands in for names which no rule has, where it exists."""
MISSING = object()


class NotUnderstood(ValueError):
    """The text is no rule."""


def allow(target: Mapping[str, Any], credentials: Mapping[str, Any]) -> bool:
    return True


def deny(target: Mapping[str, Any], credentials: Mapping[str, Any]) -> bool:
    return False


class Compiled:
    """A set of rules, each a closure, and the target keys that each one reads."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._texts = rules
        self._checks: dict[str, Check] = {}
        self._keys: dict[str, frozenset[str]] = {}
        self._open: list[str] = []
        for name in rules:
            self._compile(name)

    def check(self, name: str) -> Check:
        found = self._checks.get(name)
        return found if found is not None else self._checks.get(FALLBACK, deny)

    def has(self, name: str) -> bool:
        return name in self._checks

    def text(self, name: str) -> str:
        found = self._texts.get(name)
        return found if isinstance(found, str) else str(found)

    def parts(
        self, name: str, target: Mapping[str, Any], credentials: Mapping[str, Any]
    ) -> list[tuple[str, bool]]:
        found = []
        for text in alternatives(self.text(name)):
            check = Parser(self._compile).rule(text)
            kind, _, referred = text.partition(":")
            named = f"{text} = {self.text(referred)}" if kind == "rule" and self.has(referred) else text
            found.append((named, check(target, credentials)))
        return found

    def keys(self, name: str) -> frozenset[str]:
        found = self._keys.get(name)
        return found if found is not None else self._keys.get(FALLBACK, frozenset())

    def _compile(self, name: str) -> tuple[Check, frozenset[str]]:
        if name in self._checks:
            return self._checks[name], self._keys[name]
        if name not in self._texts:
            return (deny, frozenset()) if FALLBACK not in self._texts else self._compile(FALLBACK)
        if name in self._open:
            circle = [*self._open[self._open.index(name) :], name]
            raise ValueError(f"policy rules refer to each other in a circle: {' -> '.join(circle)}")
        self._open.append(name)
        parser = Parser(self._compile)
        try:
            check = parser.rule(self._texts[name])
        except NotUnderstood as error:
            log.error(
                "policy rule not understood, it denies", rule=name, text=self._texts[name], why=str(error)
            )
            check = deny
        self._open.pop()
        self._checks[name], self._keys[name] = check, frozenset(parser.keys)
        return check, self._keys[name]


class Parser:
    """Reads one rule; `resolve` compiles the rules it refers to, `keys` gathers the target keys it reads."""

    def __init__(self, resolve: Callable[[str], tuple[Check, frozenset[str]]]) -> None:
        self._resolve = resolve
        self.keys: set[str] = set()
        self._tokens: list[tuple[str, str]] = []
        self._at = 0

    def rule(self, text: Rule) -> Check:
        if isinstance(text, str):
            return self._text(text)
        return self._lists(text)

    def _lists(self, alternatives: Any) -> Check:
        """The older form: a list of alternatives, each a list of checks that must all hold."""
        if not alternatives:
            return allow
        if not isinstance(alternatives, list | tuple):
            raise NotUnderstood(f"a rule is a text or a list, not {type(alternatives).__name__}")
        checks: list[Check] = []
        for each in alternatives:
            if not each:
                continue
            words = [each] if isinstance(each, str) else each
            checks.append(every([self._check(str(word)) for word in words]))
        return some(checks) if checks else deny

    def _text(self, text: str) -> Check:
        if not text:
            return allow
        self._tokens, self._at = list(tokens(text)), 0
        if not self._tokens:
            raise NotUnderstood("it holds nothing but spaces")
        check = self._either()
        if self._at < len(self._tokens):
            raise NotUnderstood(f"{self._tokens[self._at][1]!r} stands where 'and', 'or' or the end should")
        return check

    def _either(self) -> Check:
        checks = [self._both()]
        while self._next("or"):
            checks.append(self._both())
        return some(checks)

    def _both(self) -> Check:
        checks = [self._single()]
        while self._next("and"):
            checks.append(self._single())
        return every(checks)

    def _single(self) -> Check:
        if self._next("not"):
            inner = self._single()
            return lambda target, credentials: not inner(target, credentials)
        if self._next("("):
            check = self._either()
            if not self._next(")"):
                raise NotUnderstood("a parenthesis is not closed")
            return check
        if self._at == len(self._tokens):
            raise NotUnderstood("it ends where a check should stand")
        kind, word = self._tokens[self._at]
        if kind != "check":
            raise NotUnderstood(f"{word!r} stands where a check should")
        self._at += 1
        return self._check(word)

    def _next(self, kind: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][0] == kind:
            self._at += 1
            return True
        return False

    def _check(self, word: str) -> Check:
        if word == "@":
            return allow
        if word == "!":
            return deny
        kind, colon, match = word.partition(":")
        if not colon:
            log.error("policy check not understood, it denies", check=word)
            return deny
        if kind == "rule":
            check, keys = self._resolve(match)
            self.keys |= keys
            return check
        if kind in ("http", "https"):
            raise NotUnderstood(f"{word}: asking another server is not supported; write the rule out")
        expected = self._expected(match)
        if kind == "role":
            return role(expected)
        try:
            literal = str(ast.literal_eval(kind))
        except (ValueError, SyntaxError):
            return credential(kind.split("."), expected)
        return lambda target, credentials: expected(target) == literal

    def _expected(self, match: str) -> Callable[[Mapping[str, Any]], str | None]:
        """What the right side stands for; None where the target lacks a key that it names."""
        parts = WILD.split(match)
        fixed, names = [part.replace("%%", "%") for part in parts[::2]], parts[1::2]
        if any("%" in part.replace("%%", "") for part in parts[::2]):
            raise NotUnderstood(f"{match}: only %(name)s stands for a value of the target")
        self.keys.update(names)
        if not names:
            text = fixed[0]
            return lambda target: text
        if len(names) == 1 and fixed == ["", ""]:
            return one(names[0])
        return several(fixed, names)


def alternatives(text: str) -> list[str]:
    """What stands between the outermost `or`s of a rule."""
    found: list[str] = []
    words: list[str] = []
    depth = 0
    for word in text.split():
        if word.lower() == "or" and depth == 0:
            found.append(" ".join(words))
            words = []
            continue
        bare = WILD.sub("", word)
        depth += bare.count("(") - bare.count(")")
        words.append(word)
    return [*found, " ".join(words)]


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """Words of a rule: parentheses stand free at both ends of a word, quotes make a word no check at all."""
    for word in text.split():
        clean = word.lstrip("(")
        yield from (("(", "("),) * (len(word) - len(clean))
        if not clean:
            continue
        bare = clean.rstrip(")")
        lowered = bare.lower()
        if lowered in ("and", "or", "not"):
            yield lowered, bare
        elif bare:
            quoted = len(clean) >= 2 and clean[0] == clean[-1] and clean[0] in "\"'"
            yield ("string" if quoted else "check"), bare
        yield from ((")", ")"),) * (len(clean) - len(bare))


def value(target: Mapping[str, Any], name: str) -> Any:
    """A key of the target as it is written, or with its dots as steps into nested mappings."""
    found = target.get(name, MISSING)
    if found is MISSING and "." in name:
        found = target
        for step in name.split("."):
            if not isinstance(found, Mapping) or step not in found:
                return MISSING
            found = found[step]
    return found


def one(name: str) -> Callable[[Mapping[str, Any]], str | None]:
    def expected(target: Mapping[str, Any]) -> str | None:
        found = value(target, name)
        if found is MISSING:
            return None
        return found if isinstance(found, str) else worded(found)

    return expected


def worded(found: Any) -> str:
    """A value of the target as credentials spell it: ids without dashes."""
    return found.hex if isinstance(found, UUID) else str(found)


def several(fixed: list[str], names: list[str]) -> Callable[[Mapping[str, Any]], str | None]:
    def expected(target: Mapping[str, Any]) -> str | None:
        text = fixed[0]
        for name, after in zip(names, fixed[1:], strict=True):
            found = value(target, name)
            if found is MISSING:
                return None
            text += worded(found) + after
        return text

    return expected


def role(expected: Callable[[Mapping[str, Any]], str | None]) -> Check:
    def check(target: Mapping[str, Any], credentials: Mapping[str, Any]) -> bool:
        wanted = expected(target)
        if wanted is None:
            return False
        wanted = wanted.lower()
        return any(wanted == held.lower() for held in credentials.get("roles", ()))

    return check


def credential(path: list[str], expected: Callable[[Mapping[str, Any]], str | None]) -> Check:
    def check(target: Mapping[str, Any], credentials: Mapping[str, Any]) -> bool:
        wanted = expected(target)
        return wanted is not None and holds(credentials, path, wanted)

    return check


def holds(held: Any, path: list[str], wanted: str) -> bool:
    """Whether the credentials have the value at the path; of a list, one element is enough."""
    for position, step in enumerate(path):
        if not isinstance(held, Mapping) or step not in held:
            return False
        held = held[step]
        if isinstance(held, list | tuple | set | frozenset):
            return any(holds(each, path[position + 1 :], wanted) for each in held)
    return wanted == str(held)


def every(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]
    if len(checks) == 2:
        one, two = checks
        return lambda target, credentials: one(target, credentials) and two(target, credentials)
    return lambda target, credentials: all(check(target, credentials) for check in checks)


def some(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]
    if len(checks) == 2:
        one, two = checks
        return lambda target, credentials: one(target, credentials) or two(target, credentials)
    return lambda target, credentials: any(check(target, credentials) for check in checks)


def scope_of(credentials: Mapping[str, Any]) -> str:
    """As oslo.policy tells them apart: what is neither of the system nor of a domain counts as a project's."""
    if credentials.get("system_scope"):
        return "system"
    return "domain" if credentials.get("domain_id") else "project"


def read(path: Path) -> dict[str, Rule]:
    """Rules of a YAML or JSON file. ValueError names the file and what is wrong with it."""
    try:
        found = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML or JSON: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{path}: a mapping of rule names to rules is expected")
    return found


class Enforcer:
    """The rules of one service: its defaults, replaced one by one by the operator's file.

    The file is looked at again at most once a second. One that cannot be used stops the start; later it
    leaves the rules as they are.
    """

    def __init__(
        self,
        defaults: Mapping[str, Rule],
        overrides: Path | None = None,
        *,
        scopes: Mapping[str, frozenset[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._defaults = dict(defaults)
        self._scopes = scopes or {}
        self._path = overrides
        self._clock = clock
        self._stamp = self._look()
        self._looked = clock()
        self._rules = self._load()

    def allowed(self, rule: str, target: Mapping[str, Any], credentials: Mapping[str, Any]) -> bool:
        scopes = self._scopes.get(rule)
        if scopes is not None and scope_of(credentials) not in scopes:
            return False
        return self._current().check(rule)(target, credentials)

    def knows(self, rule: str) -> bool:
        return self._current().has(rule)

    def text(self, rule: str) -> str:
        """The rule as it stands now, in the operator's file or by default."""
        return self._current().text(rule)

    def parts(
        self, rule: str, target: Mapping[str, Any], credentials: Mapping[str, Any]
    ) -> list[tuple[str, bool]]:
        """Each alternative of the rule (what stands between its outermost `or`s), and whether it holds."""
        scopes = self._scopes.get(rule)
        found = self._current().parts(rule, target, credentials)
        if scopes is not None and scope_of(credentials) not in scopes:
            found.append((f"a token of {' or '.join(sorted(scopes))}", False))
        return found

    def keys(self, rule: str) -> frozenset[str]:
        """The keys of the target that decide the rule, through every rule that it refers to."""
        return self._current().keys(rule)

    def _current(self) -> Compiled:
        if self._path is not None and self._clock() - self._looked >= 1.0:
            self._looked = self._clock()
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._rules = self._load()
                except (ValueError, OSError) as error:
                    log.error(
                        "policy file not usable, the rules stay as they were",
                        file=str(self._path),
                        why=str(error),
                    )
        return self._rules

    def _look(self) -> tuple[int, int, int] | None:
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _load(self) -> Compiled:
        if self._path is None or self._stamp is None:
            return Compiled(self._defaults)
        try:
            return Compiled(self._defaults | read(self._path))
        except RecursionError:
            raise ValueError(f"{self._path}: rules are nested too deeply") from None
