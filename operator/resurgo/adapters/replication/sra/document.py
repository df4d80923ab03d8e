"""The protocol's XML: requests built with its namespace, answers read by local name, whatever else is in them.

Answers come from programs we did not write: no DTD, no entity, no more than MAX_ANSWER bytes, unknown elements ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET  # only builds; what is read goes through defusedxml

import defusedxml
import defusedxml.ElementTree

NAMESPACE = "http://www.vmware.com/srm/sra/v2"
MAX_ANSWER = 16 * 1024 * 1024  # bytes; a thousand groups of a hundred devices need about a third of it
_PREFIX = f"{{{NAMESPACE}}}"


class UnreadableAnswer(Exception):
    """There is no answer, or not one that can be trusted. Never crosses a port."""


def make(tag: str, /, *children: ET.Element | None, text: str | None = None, **attributes: str) -> ET.Element:
    """Build an element of the protocol; children that are None are left out."""
    made = ET.Element(_PREFIX + tag, attributes)
    made.text = text
    made.extend(child for child in children if child is not None)
    return made


@dataclass(frozen=True, slots=True)
class Login:
    """The one connection of a request. ``password`` is on its way to stdin and nowhere else."""

    id: str
    addresses: Sequence[tuple[str, str]]  # id, value
    opaques: Mapping[str, str]
    user: tuple[str, str] | None

    def element(self) -> ET.Element:
        username, password = self.user or (None, None)
        return make(
            "Connections",
            make(
                "Connection",
                make("Addresses", *(make("Address", text=value, id=id_) for id_, value in self.addresses)),
                make("Username", text=username) if username is not None else None,
                make("Password", text=password) if password is not None else None,
                make("Opaques", *(make("Opaque", text=v, id=k) for k, v in self.opaques.items())),
                id=self.id,
            ),
        )


def request(name: str, folder: Path, login: Login | None, parameters: Sequence[ET.Element] = ()) -> bytes:
    """The document of one command whose files are in *folder*."""
    ET.register_namespace("", NAMESPACE)
    document = make(
        "Command",
        make("Name", text=name),
        make("OutputFile", text=str(folder / "output")),
        make("StatusFile", text=str(folder / "status")),
        make("LogLevel", text="info"),
        make("LogDirectory", text=str(folder / "log")),
        login.element() if login is not None else None,
        make(f"{name[0].upper()}{name[1:]}Parameters", *parameters) if parameters else None,
    )
    return bytes(ET.tostring(document, encoding="UTF-8", xml_declaration=True))


def read_answer(path: Path) -> ET.Element:
    """Parse an answer's root. UnreadableAnswer says why it can't be."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_ANSWER + 1)
    except OSError:
        raise UnreadableAnswer("it wrote no answer") from None
    if len(text) > MAX_ANSWER:
        raise UnreadableAnswer(f"its answer is larger than {MAX_ANSWER >> 20} MiB")
    try:
        root: ET.Element = defusedxml.ElementTree.fromstring(text, forbid_dtd=True)
    except (ET.ParseError, defusedxml.DefusedXmlException, ValueError, LookupError) as error:
        raise UnreadableAnswer(f"its answer can't be read: {type(error).__name__} {error}"[:200]) from None
    if local(root) != "Response":
        raise UnreadableAnswer(f"its answer is a {local(root)!r}, not a Response"[:200])
    return root


def read_percent(path: Path) -> int | None:
    """The progress in a status file, None where there is none to be read."""
    try:
        with path.open("rb") as file:
            root = defusedxml.ElementTree.fromstring(file.read(4096), forbid_dtd=True)
        return max(0, min(100, int(float(root.text or ""))))
    except (OSError, ET.ParseError, defusedxml.DefusedXmlException, ValueError, LookupError, OverflowError):
        return None


def local(element: ET.Element) -> str:
    """The tag without its namespace."""
    return element.tag.rpartition("}")[2]


def children(element: ET.Element | None, *tags: str) -> Iterator[ET.Element]:
    """All elements below *element* along *tags*, by local names."""
    if element is None:
        return
    first, *rest = tags
    for found in element:
        if local(found) == first:
            if rest:
                yield from children(found, *rest)
            else:
                yield found


def child(element: ET.Element | None, *tags: str) -> ET.Element | None:
    """The first of `children`, or None."""
    return next(children(element, *tags), None)


def text(element: ET.Element | None, *tags: str) -> str:
    """The text of the first of `children`, without white space around it."""
    found = child(element, *tags)
    return (found.text or "").strip() if found is not None else ""


def identifier(element: ET.Element | None, *names: str) -> str:
    """The first non-empty attribute of *names*."""
    return next((v for n in names if element is not None and (v := element.get(n, ""))), "")
