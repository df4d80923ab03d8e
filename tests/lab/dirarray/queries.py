"""The answers that depend on no array: who this adapter is, what it can do, what it asks for, what its codes mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from envelope import Command, element, path
from store import ArrayError, read_json

ALREADY = 500  # a warning: there was nothing left to do
ERRORS: Mapping[int, tuple[str, str]] = {
    100: ("The command is not known", "Compare with queryCapabilities"),
    101: ("The locale is not supported", "Use en"),
    1001: ("The array does not answer", "Check the connection's address and root, and that the array runs"),
    1002: ("The array refused the login", "Check user name and password"),
    1003: ("No such consistency group or device", "Run a discovery"),
    1004: ("The peer array does not answer", "Check the connection between the arrays"),
    1005: ("There is no complete recovery point", "Wait for the first replication to end"),
    1006: ("The group's state does not allow this", "Run a discovery and compare the states of both ends"),
    1007: ("The peer has taken over; replication is stopped", "Reprotect, or give up one of the two copies"),
    1008: ("The work was done already", "Nothing to do"),
    1009: ("No such synchronisation", "Start a new one"),
}
WARNINGS: Mapping[int, tuple[str, str]] = {ALREADY: ("The work was done already", "Nothing to do")}
COMMANDS = (
    "queryInfo", "queryStrings", "queryCapabilities", "queryConnectionParameters", "queryErrorDefinitions",
    "discoverArrays", "discoverDevices", "syncOnce", "querySyncStatus", "testFailoverStart", "testFailoverStop",
    "prepareFailover", "failover", "prepareReverseReplication", "reverseReplication", "restoreReplication",
)  # fmt: skip
AT_SOURCE = {"reverseReplication"}
_STRINGS = {"name": "Directory arrays", "vendor": "Resurgo", "title": "Array manager", "hint": "One array of the pair"}


def info(_: Command) -> ET.Element:
    return element(
        "AdapterInfo",
        element("Name", text=_STRINGS["name"], stringId="name"),
        element("Version", text="1.0"),
        element("Vendor", text=_STRINGS["vendor"], stringId="vendor"),
        element("Uuid", text="0b0a5c52-2f0e-4c53-9d33-2c7f9a6c1d10"),
    )


def strings(command: Command) -> ET.Element:
    locale = command.parameters.findtext(path("Locale")) or "en"
    if not locale.startswith("en"):
        raise ArrayError(101)
    return element("Strings", *(element("String", text=v, id=k) for k, v in _STRINGS.items()), locale="en")


def commands() -> list[str]:
    """What is offered: everything but what capabilities.json beside the executable switches off.

    Capabilities are asked for without a connection, so an array can't have its own; see README.md.
    """
    off = set(read_json(Path(__file__).with_name("capabilities.json"), {}).get("off", []))
    return [name for name in COMMANDS if name not in off]


def capabilities(_: Command) -> ET.Element:
    def entry(name: str) -> ET.Element:
        where = element("ExecutionLocation", text="source") if name in AT_SOURCE else None
        return element("Command", where, name=name)

    return element(
        "AdapterCapabilities",
        element(
            "ReplicationSoftwares",
            element("ReplicationSoftware", element("Name", text="dirarray"), element("Version", text="1.0")),
        ),
        element(
            "ArrayModels", element("ArrayModel", element("Name", text="Directory"), element("Vendor", text="Resurgo"))
        ),
        element(
            "Features",
            element("ConsistencyGroups"),
            element("Protocols", element("Protocol", text="NFS")),
        ),
        element("Commands", *(entry(name) for name in commands())),
    )


def connection_parameters(_: Command) -> ET.Element:
    def field(tag: str, title: str, hint: str, **attributes: str) -> ET.Element:
        return element(tag, element("Title", text=title), element("Hint", text=hint), **attributes)

    return element(
        "AdapterConnectionParameters",
        element(
            "Connection",
            element("Title", text=_STRINGS["title"]),
            element("Hint", text=_STRINGS["hint"]),
            element("Addresses", field("Address", "Address", "Any name; shown in logs", id="dirarray.address")),
            field("Username", "User name", "As in the array's credentials.json"),
            field("Password", "Password", "As in the array's credentials.json"),
            element(
                "Opaques",
                field("Opaque", "Root", "The array's directory", id="dirarray.root"),
                field("Opaque", "Peer", "The peer array's directory as this array reaches it", id="dirarray.peer"),
            ),
            id="dirarray",
        ),
    )


def error_definitions(_: Command) -> list[ET.Element]:
    def entry(tag: str, code: int, texts: tuple[str, str]) -> ET.Element:
        return element(tag, element("Description", text=texts[0]), element("FixHint", text=texts[1]), code=str(code))

    return [
        element("ErrorDefinitions", *(entry("ErrorDefinition", c, t) for c, t in ERRORS.items())),
        element("WarningDefinitions", *(entry("WarningDefinition", c, t) for c, t in WARNINGS.items())),
    ]
