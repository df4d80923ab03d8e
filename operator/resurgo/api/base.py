"""What all kinds share: the frozen model, metadata, conditions, references and the caps of strings and lists.

Every field of every model carries a docstring, which becomes its description in the CRD and in `kubectl explain`.
Every string, list, map and number is bounded, because the API server estimates the cost of a CEL rule from these
bounds.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

GROUP = "resurgo.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

_ACRONYMS = {"id": "ID", "tls": "TLS"}


def camel(name: str) -> str:
    """The API's spelling of a Python field: `request_id` is `requestID`, `from_` is `from`."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


class Model(BaseModel):
    """A frozen part of the API. Unknown fields are ignored, so that an older operator can read a newer object."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )

    def dump(self) -> dict[str, Any]:
        """Return this object as the API server takes it: camelCase, JSON values, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def list_map(*keys: str) -> Any:
    """Mark a list as one that server-side apply merges by *keys*; the API server refuses two items with equal keys."""
    return Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)})


def list_set() -> Any:
    """Mark a list as one that server-side apply merges by value; the API server refuses duplicates."""
    return Field(json_schema_extra={"x-kubernetes-list-type": "set"})


# -- Strings and numbers with a cap ----------------------------------------------------------------

ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
]
"""The name of a Kubernetes object."""

Label = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""A short lowercase name: a namespace, a stage."""

InventoryName = Annotated[str, Field(min_length=1, max_length=255)]
"""The name of a vCenter object: a datastore, network or VM."""

InventoryPath = Annotated[str, Field(min_length=2, max_length=512, pattern=r"^/[^/]")]
"""The path of a vCenter object from the root folder, as govc prints it."""

StorageId = Annotated[str, Field(min_length=1, max_length=255)]
"""What a storage system calls a thing: an array, a consistency group."""

RequestID = Annotated[str, Field(max_length=128, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_./:#]*[A-Za-z0-9])?)?$")]
"""A request's identity, for instance the number of an incident; empty for none."""

Text = Annotated[str, Field(max_length=1024)]
"""A message for people."""

ShortText = Annotated[str, Field(max_length=256)]
"""A message of which there may be many."""

Cidr = Annotated[str, Field(min_length=1, max_length=43)]
"""An IPv4 or IPv6 network or address with its prefix length."""

IpAddress = Annotated[str, Field(min_length=1, max_length=39)]
"""An IPv4 or IPv6 address."""

UserName = Annotated[str, Field(max_length=253)]
"""A user as the API server knows them."""

Uid = Annotated[str, Field(max_length=64)]
"""The UID of a Kubernetes object."""

Url = Annotated[str, Field(min_length=9, max_length=1024)]
"""An address; a rule of the field says which scheme it must have."""

CaBundle = Annotated[str, Field(min_length=1, max_length=131072, json_schema_extra={"format": "byte"})]
"""PEM certificates in base64."""

Count = Annotated[int, Field(ge=0, le=1_000_000)]
"""A number of things."""

Generation = Annotated[int, Field(ge=0, le=2**53)]
"""A metadata.generation."""

Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
"""A duration of at most a year."""

PositiveSeconds = Annotated[int, Field(ge=1, le=86_400)]
"""A time limit of at most a day."""

Percent = Annotated[int, Field(ge=0, le=100)]
"""A share of 100."""

Time = AwareDatetime
"""A point in time, RFC 3339."""


# -- Conditions ------------------------------------------------------------------------------------


class ConditionStatus(StrEnum):
    """The verdict of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One aspect of an object's state: metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")]
    """What is judged, in CamelCase."""
    status: ConditionStatus
    """Whether it holds: True, False, or Unknown."""
    reason: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9_])?$")]
    """Why, in one CamelCase word; part of the API."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """Why, for people: what is affected, what was answered, what to do next."""
    last_transition_time: Time
    """When the status last changed."""
    observed_generation: Generation | None = None
    """The metadata.generation this was judged for."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=32), list_map("type")]


class ConditionedStatus(Model):
    """What the status of every kind has."""

    observed_generation: Generation | None = None
    """The metadata.generation that the operator last handled with success."""
    conditions: Conditions = ()
    """The verdicts on this object, one per type."""

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of type *kind*, or None if it was never judged."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def is_true(self, kind: str) -> bool:
        """Whether the condition of type *kind* stands on True."""
        found = self.condition(kind)
        return found is not None and found.status is ConditionStatus.TRUE


# -- References ------------------------------------------------------------------------------------


class LocalReference(Model):
    """An object in the same namespace, or a cluster-scoped one."""

    name: ObjectName
    """The object's name."""


class SecretReference(Model):
    """A Secret, named from a cluster-scoped object."""

    namespace: Label
    """The Secret's namespace."""
    name: ObjectName
    """The Secret's name."""


class VirtualMachineReference(Model):
    """A VM of the plan's groups: by name, or by inventory path where names are not unique."""

    name: InventoryName | None = None
    """The VM's name; refused at run time if two VMs of the plan bear it."""
    path: InventoryPath | None = None
    """The VM's inventory path, instead of its name."""

    @property
    def key(self) -> str:
        """What the manifest calls this VM: its path if given, else its name."""
        return self.path or self.name or ""


class SelectorOperator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelRequirement(Model):
    """One comparison of a label selector."""

    key: Annotated[str, Field(min_length=1, max_length=317)]
    """The label."""
    operator: SelectorOperator
    """How it is compared: In, NotIn, Exists or DoesNotExist."""
    values: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=32)] = ()
    """The values for In and NotIn."""


class LabelSelector(Model):
    """metav1.LabelSelector: all requirements must hold; an empty selector matches everything."""

    match_labels: Annotated[Mapping[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)] = {}
    """Labels that must have exactly these values."""
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=32)] = ()
    """Further requirements."""


# -- The head of every kind ------------------------------------------------------------------------


class Metadata(Model):
    """The part of metav1.ObjectMeta that Resurgo reads. What the API server sets is empty until it did."""

    name: str
    """The object's name."""
    namespace: str | None = None
    """Its namespace; None for a cluster-scoped kind."""
    uid: str = ""
    """Its identity over time: an object re-created under the same name has another."""
    generation: int = 0
    """Grows with every change of spec."""
    resource_version: str = ""
    """The version read; a write that carries it is refused when the object changed meanwhile."""
    creation_timestamp: datetime | None = None
    """When it was created."""
    deletion_timestamp: datetime | None = None
    """When its deletion was asked for, None if it was not."""
    labels: Mapping[str, str] = {}
    """Its labels."""
    annotations: Mapping[str, str] = {}
    """Its annotations."""
    finalizers: tuple[str, ...] = ()
    """What still holds its deletion up."""
    owner_references: tuple[Mapping[str, Any], ...] = ()
    """Its owners, as they are."""


class Scope(StrEnum):
    """Where objects of a kind live."""

    CLUSTER = "Cluster"
    NAMESPACED = "Namespaced"


class Resource(Model):
    """An object of one of Resurgo's kinds."""

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    SINGULAR: ClassVar[str]
    SHORT_NAME: ClassVar[str]
    SCOPE: ClassVar[Scope] = Scope.NAMESPACED

    api_version: Literal["resurgo.dev/v1alpha1"] = "resurgo.dev/v1alpha1"
    """The group and version of this object's shape."""
    metadata: Metadata
    """The object's name and what the API server keeps about it."""

    def manifest(self) -> dict[str, Any]:
        """Return this object as the API server takes it for a create: without empty metadata and without status."""
        dumped = self.dump()
        dumped.pop("status", None)
        dumped["metadata"] = {key: value for key, value in dumped["metadata"].items() if value}
        return dumped
