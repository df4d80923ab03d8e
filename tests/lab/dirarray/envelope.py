"""The envelope of the protocol: what comes in on stdin, and the file the answer goes to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

NAMESPACE = "http://www.vmware.com/srm/sra/v2"
_PREFIX = f"{{{NAMESPACE}}}"


def element(tag: str, /, *children: ET.Element | None, text: str | None = None, **attributes: str) -> ET.Element:
    """Build one element of the protocol's namespace; children that are None are left out."""
    made = ET.Element(_PREFIX + tag, attributes)
    made.text = text
    made.extend(c for c in children if c is not None)
    return made


def path(*tags: str) -> str:
    """Return the ElementTree path of nested elements of the protocol's namespace."""
    return "/".join(_PREFIX + t for t in tags)


@dataclass(frozen=True)
class Command:
    """One request. ``opaques`` and ``username`` are empty for commands without a connection."""

    name: str
    output: Path
    status: Path | None
    opaques: dict[str, str]
    username: str
    password: str
    parameters: ET.Element


def read(document: bytes) -> Command:
    """Parse a request. ValueError for one that is none."""
    root = ET.fromstring(document)  # noqa: S314 (only the host of this adapter writes to its stdin)

    def text(*tags: str) -> str:
        return (root.findtext(path(*tags)) or "").strip()

    name = text("Name")
    if not name or not text("OutputFile"):
        raise ValueError("a request needs Name and OutputFile")
    connection = ("Connections", "Connection")
    found = root.find(path(f"{name[0].upper()}{name[1:]}Parameters"))
    return Command(
        name=name,
        output=Path(text("OutputFile")),
        status=Path(text("StatusFile")) if text("StatusFile") else None,
        opaques={
            o.get("id", ""): (o.text or "").strip() for o in root.iterfind(path(*connection, "Opaques", "Opaque"))
        },
        username=text(*connection, "Username"),
        password=text(*connection, "Password"),
        parameters=found if found is not None else element("None"),
    )


def answer(command: Command, *body: ET.Element, truncate: bool = False) -> None:
    """Write the response file at once; *truncate* cuts it in the middle, as a full disk would."""
    ET.register_namespace("", NAMESPACE)
    text = ET.tostring(element("Response", *body), encoding="UTF-8", xml_declaration=True)
    partial = command.output.with_suffix(".partial")
    partial.write_bytes(text[: len(text) // 2] if truncate else text)
    partial.replace(command.output)


def progress(command: Command, percent: int) -> None:
    """Rewrite the status file."""
    if command.status is not None:
        partial = command.status.with_suffix(".partial")
        partial.write_text(f'<ProgressUpdate xmlns="{NAMESPACE}">{percent}</ProgressUpdate>')
        partial.replace(command.status)
