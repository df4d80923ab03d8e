"""The rules of Site."""

from resurgo.api.rules.rule import Case, Rule

HTTPS = "isURL(self) && url(self).getScheme() == 'https' && url(self).getHostname() != '' && !self.contains('@')"
HTTPS_MESSAGE = "must be an https:// URL with a host and without credentials"

_THUMBPRINT = ":".join(["AB"] * 32)

SITE_RULES = (
    Rule(
        kind="Site",
        name="a vCenter is spoken to over https only",
        at="spec.vcenter.url",
        expression=HTTPS,
        message=HTTPS_MESSAGE,
        accept=Case({"vcenter": {"url": "https://127.0.0.1:8989"}}),
        reject=Case({"vcenter": {"url": "http://vcenter.berlin.example"}}),
    ),
    Rule(
        kind="Site",
        name="a vCenter is trusted in one way",
        at="spec.vcenter",
        expression="[has(self.caBundle), has(self.thumbprint), self.insecureSkipTLSVerify].filter(x, x).size() <= 1",
        message="give at most one of caBundle, thumbprint and insecureSkipTLSVerify",
        accept=Case({"vcenter": {"thumbprint": _THUMBPRINT}}),
        reject=Case({"vcenter": {"thumbprint": _THUMBPRINT, "insecureSkipTLSVerify": True}}),
    ),
)
