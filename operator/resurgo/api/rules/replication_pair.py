"""The rules of ReplicationPair."""

from resurgo.api.rules.rule import Case, Rule

_BLOCKS = ("sra", "zfs", "rbdMirror", "snapMirror", "vvolsSms", "grpc")
_SECRET = {"namespace": "resurgo-system", "name": "adapter-tls"}

REPLICATION_PAIR_RULES = (
    Rule(
        kind="ReplicationPair",
        name="the adapter's own block is given and no other",
        at="spec",
        expression=" && ".join(f"has(self.{block}) == (self.adapter.type == '{block}')" for block in _BLOCKS),
        message="exactly the block named by adapter.type must be given",
        message_expression=(
            "'adapter.type is ' + self.adapter.type + ': give the block ' + self.adapter.type + "
            "' and no other adapter block'"
        ),
        accept=Case({"adapter": {"type": "rbdMirror"}, "sra": None, "rbdMirror": {"pool": "vols"}}),
        reject=Case(
            {"adapter": {"type": "zfs"}},
            says="adapter.type is zfs: give the block zfs and no other adapter block",
        ),
    ),
    Rule(
        kind="ReplicationPair",
        name="the Sites of a pair are immutable",
        at="spec",
        expression="self.endpoints.all(e, oldSelf.endpoints.exists(o, o.site == e.site))",
        message="the Sites of a pair are immutable; make a new pair",
        field_path=".endpoints",
        reason="FieldValueForbidden",
        accept=Case(
            {"endpoints": [{"site": "leipzig", "id": "array-new"}, {"site": "berlin", "id": "array-ber"}]}, before={}
        ),
        reject=Case(
            {"endpoints": [{"site": "berlin", "id": "array-ber"}, {"site": "jena", "id": "array-lpz"}]}, before={}
        ),
    ),
    Rule(
        kind="ReplicationPair",
        name="an adapter on the network is spoken to over TLS",
        at="spec.grpc",
        expression="self.address.startsWith('unix://') || has(self.tlsSecretRef)",
        message="tlsSecretRef is required unless address is a unix:// socket",
        accept=Case(
            {"adapter": {"type": "grpc"}, "sra": None, "grpc": {"address": "vendor:8443", "tlsSecretRef": _SECRET}}
        ),
        reject=Case({"adapter": {"type": "grpc"}, "sra": None, "grpc": {"address": "vendor:8443"}}),
    ),
)
