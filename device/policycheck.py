"""Whether the configuration that a start goes by is the agency's.

Asked when frames flow already and before a clip can begin: the vault's card can be taken out, and whoever
puts other recipients on it must not get a single clip. X.509 is loaded by then, for the camera's own key.
"""

from pathlib import Path

from device.policy import Policy
from device.vault.configstore import read_config
from evidence.errors import ExplainedError

__all__ = ["doubt_about"]


def doubt_about(policy: Policy, vault: Path, anchors: Path) -> str:
    """Say why a policy is not the agency's word; empty if it is, or is the camera's own TOML.

    `anchors` are the agency's roots. What the policy itself revokes is not held against it: it was judged by
    the one before.
    """
    if not policy.pushed:
        return ""
    from device.vault.trust import AgencyTrust, sha256_of  # noqa: PLC0415  # CMS: only where there is one
    from evidence.paths import load_roots  # noqa: PLC0415  # as above
    from evidence.roles import Role  # noqa: PLC0415  # as above

    try:
        stored = read_config(vault)
        if stored is None or sha256_of(stored.document) != policy.reference.sha256:
            return "the stored configuration changed while the camera started"
        AgencyTrust(load_roots(anchors)).verify(stored.document, stored.cms, Role.CONFIG)
    except ExplainedError as error:
        return str(error)
    return ""
