"""YAML with marks: plain Python data, and the line of every key and item in it.

Anchors, aliases and merge keys (``<<``) work as in YAML 1.1; a value is located where it is written, which for an
alias or a merged key is the place of the anchor. Only the safe part of YAML is read: no object is ever made from a tag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from nodepool.config.problem import ConfigurationError, Path, Problem, path_text
from nodepool.config.text import SourceText, read_text, unset_variables

MAX_VALUES = 1_000_000
"""Most values a file may stand for once its aliases are followed: a guard against aliases that multiply."""

_MAP, _SEQ, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "merge"))
_SECRET_SYNTAX = "not valid YAML (nothing of this file is shown here)"

Pairs = dict[Any, tuple[Node, Node]]


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with how a file is written that does not stop it from being read."""

    line: int
    path: Path
    message: str
    tolerated: bool
    """True: Nodepool 11 took the file although it is wrong. False: nothing is wrong, but probably not as meant."""


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file."""

    file: str
    data: Any
    """Mappings, lists and scalars; None for a file without content."""
    secret: bool
    """True for the secure file: its content never appears in messages."""
    flaws: tuple[Flaw, ...]
    _source: SourceText
    _root: Node | None
    _pairs: dict[int, Pairs]

    def line(self, path: Path) -> int | None:
        """The line (from 1) of the key or item at ``path``, or of the nearest thing around it that exists."""
        node = self._root
        if node is None:
            return None
        mark = node.start_mark
        for step in path:
            if isinstance(node, MappingNode):
                pair = self._pairs[id(node)].get(step)
                if pair is None:
                    break
                mark, node = pair[0].start_mark, pair[1]
            elif isinstance(node, SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
                node = node.value[step]
                mark = node.start_mark
            else:
                break
        return self._source.line(mark.index)


def read_document(file: str, environ: Mapping[str, str], *, secret: bool = False) -> Document:
    """Read and parse one file.

    :raises ConfigurationMissing: it does not exist.
    :raises ConfigurationError: it cannot be read, or is not YAML; one problem.
    """
    return parse(read_text(file, environ), secret=secret)


def parse(source: SourceText, *, secret: bool = False) -> Document:
    """Parse a text.

    :raises ConfigurationError: it is not YAML; one problem.
    """
    builder = _Builder(source, secret)
    try:
        root = _compose(source.text)
        data = None if root is None else builder.value(root, ())
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(source, error, secret) from None
    except yaml.reader.ReaderError as error:
        line = source.line(error.position)
        message = f"the character U+{_code(error.character):04X} is not allowed in YAML"
        raise _failure(source, line, _SECRET_SYNTAX if secret else message) from None
    except RecursionError:
        raise _failure(source, None, "lists and mappings are nested too deeply") from None
    return Document(source.file, data, secret, tuple(builder.flaws), source, root, builder.pairs)


def _compose(text: str) -> Node | None:
    loader = yaml.SafeLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


@dataclass
class _Builder:
    """Makes data of nodes; each node once, however many aliases lead to it."""

    source: SourceText
    secret: bool
    flaws: list[Flaw] = field(default_factory=list)
    pairs: dict[int, Pairs] = field(default_factory=dict)
    _data: dict[int, Any] = field(default_factory=dict)
    _sizes: dict[int, int] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)
    _scalars: SafeConstructor = field(default_factory=SafeConstructor)

    def value(self, node: Node, path: Path) -> Any:
        """The data a node stands for."""
        key = id(node)
        if key in self._data:
            return self._data[key]
        if isinstance(node, ScalarNode):
            self._sizes[key] = 1
            self._data[key] = self._scalar(node, path)
            return self._data[key]
        self._enter(node)
        children: list[Node]
        if isinstance(node, MappingNode):
            self._check_tag(node, _MAP)
            pairs = self._pairs_of(node, path)
            self._data[key] = {name: self.value(item, (*path, name)) for name, (_, item) in pairs.items()}
            children = [item for _, item in pairs.values()]
        else:
            self._check_tag(node, _SEQ)
            self._data[key] = [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            children = node.value
        self._open.discard(key)
        self._sizes[key] = 1 + sum(self._sizes[id(child)] for child in children)
        if self._sizes[key] > MAX_VALUES:
            raise self._error(node, f"the aliases in this file stand for more than {MAX_VALUES} values")
        return self._data[key]

    def _pairs_of(self, node: MappingNode, path: Path) -> Pairs:
        """The keys of a mapping with their nodes: merged ones first, then its own, which win (YAML merge key)."""
        if id(node) in self.pairs:
            return self.pairs[id(node)]
        merged: Pairs = {}
        own: Pairs = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                for source in self._merge_sources(value_node):
                    self._enter(source)
                    merged = {**self._pairs_of(source, path), **merged}
                    self._open.discard(id(source))
                continue
            key = self._key(key_node, path)
            if key in own:
                self._duplicate(key_node, own[key][0], path if self.secret else (*path, key))
            own[key] = (key_node, value_node)
        self.pairs[id(node)] = {**merged, **own}
        return self.pairs[id(node)]

    def _merge_sources(self, node: Node) -> list[MappingNode]:
        candidates = node.value if isinstance(node, SequenceNode) else [node]
        for candidate in candidates:
            if not isinstance(candidate, MappingNode):
                raise self._error(node, "'<<' takes a mapping or a list of mappings, usually an alias such as '*name'")
        return list(candidates)

    def _key(self, node: Node, path: Path) -> Any:
        if not isinstance(node, ScalarNode):
            raise self._error(node, "a key must be plain text, not a list or a mapping (are braces quoted?)")
        return self._scalar(node, path)

    def _duplicate(self, node: Node, first: Node, path: Path) -> None:
        line = self.source.line(first.start_mark.index)
        message = f"this key stands here a second time (first in line {line}); only the last one counts: remove one"
        self.flaws.append(Flaw(self._line(node), path, message, tolerated=True))

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        for name in unset_variables(node.value):
            message = f"the environment variable {name} is not set, so the text %({name}) stays as it is"
            self.flaws.append(Flaw(self._line(node), path, message, tolerated=False))
        # The constructors of PyYAML raise these bare on a text that its tag does not fit, such as "!!int x".
        try:
            return self._scalars.construct_object(node, deep=True)
        except (ValueError, IndexError, KeyError, AttributeError, TypeError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            raise self._error(node, f"{node.value[:60]!r} is not a valid {kind} (put it in quotes?)") from None

    def _check_tag(self, node: Node, expected: str) -> None:
        if node.tag != expected:
            raise self._error(node, f"the tag {node.tag!r} is not supported (remove it)")

    def _enter(self, node: Node) -> None:
        if id(node) in self._open:
            raise self._error(node, "an alias leads back to the anchor that contains it (remove the alias)")
        self._open.add(id(node))

    def _line(self, node: Node) -> int:
        return self.source.line(node.start_mark.index)

    def _error(self, node: Node, message: str) -> ConfigurationError:
        return _failure(self.source, self._line(node), _SECRET_SYNTAX if self.secret else message)


def _failure(source: SourceText, line: int | None, message: str, path: Path = ()) -> ConfigurationError:
    return ConfigurationError([Problem(source.file, line, path_text(path), message)])


def _syntax_error(source: SourceText, error: yaml.MarkedYAMLError, secret: bool) -> ConfigurationError:
    mark = error.problem_mark or error.context_mark
    if mark is None or mark.index is None:
        return _failure(source, None, _SECRET_SYNTAX if secret else f"not valid YAML: {error.problem}")
    line = source.line(mark.index)
    unset = unset_variables(source.line_text(line))
    if unset and "'%'" in str(error.problem):
        message = f"the environment variable {unset[0]} is not set, and what stands for it is not valid YAML (set it)"
    elif secret:
        message = _SECRET_SYNTAX
    elif isinstance(error, ConstructorError):
        message = f"{error.problem} (remove the tag, or put the text in quotes)"
    else:
        message = f"not valid YAML: {_explained(error)} (column {mark.column + 1})"
        if (
            error.context
            and error.context_mark
            and "single" not in error.context
            and source.line(error.context_mark.index) != line
        ):
            message += f", {error.context} that begins in line {source.line(error.context_mark.index)}"
    return _failure(source, line, message)


def _explained(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context)
    if "another document" in problem:
        return "a second document begins here, but a file holds one (remove the '---')"
    if "'\\t'" in problem:
        return f"{problem}: indent with blanks, not with tabs"
    if "expected <block end>, but found '<" in problem:
        return f"{problem}: the indentation does not fit the lines above"
    if "mapping values are not allowed" in problem:
        return f"{problem}: wrong indentation, or a text with ': ' that needs quotes"
    if "cannot start any token" in problem:
        return f"{problem}: put the text in quotes"
    return problem


def _code(character: Any) -> int:
    return ord(character) if isinstance(character, str) else int(character)
