"""The ConfigMap that the sidecar mounts, if the manifests have it: its namespace and its key."""

from __future__ import annotations

import pytest

from tests.support.injecting import OPTIONS, POD, collect_faults, inject_text

MOUNTING = {**OPTIONS, "config_map": "profiles"}


def format_config_map(namespace: str, key: str = "broker.yaml", field: str = "data") -> str:
    metadata = f"{{name: profiles{f', namespace: {namespace}' if namespace else ''}}}"
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\n{field}: {{{key}: x}}\n"


def format_pod(namespace: str) -> str:
    return POD.replace("  name: app", f"  name: app\n  namespace: {namespace}", 1) if namespace else POD


@pytest.mark.parametrize("order", [1, -1])
def test_config_map_of_another_namespace_is_a_fault_with_both_places(order: int) -> None:
    parts = [format_config_map("platform"), format_pod("payments")][::order]
    (fault,) = collect_faults("---\n".join(parts), MOUNTING)
    assert ": ConfigMap profiles is in namespace platform (document " in fault
    assert fault.endswith("but the pod is in payments. Add the ConfigMap to the pod's namespace")
    pod = "document 2, line 11" if order == 1 else "document 1, line 6"
    assert fault.startswith(f"{pod}, Pod payments/app: ")


def test_config_map_without_the_settings_file_is_a_fault() -> None:
    (fault,) = collect_faults(f"{POD}---\n{format_config_map('', key='config')}", MOUNTING)
    assert fault == (
        "document 1, line 5, Pod app: ConfigMap profiles (document 2, line 10) has no key broker.yaml. "
        "Write the settings file under that key"
    )


@pytest.mark.parametrize(
    ("maps", "pod"),
    [
        ([format_config_map("payments")], "payments"),
        ([format_config_map("payments", field="binaryData")], "payments"),
        ([format_config_map("")], "payments"),
        ([format_config_map("payments")], ""),
        ([format_config_map("platform"), format_config_map("payments")], "payments"),
        ([format_config_map("platform").replace("profiles", "others")], "payments"),
        ([format_config_map("platform").replace("v1", "example.com/v1")], "payments"),
        ([], "payments"),
    ],
)
def test_config_map_that_the_pod_can_reach_is_no_fault(maps: list[str], pod: str) -> None:
    assert "configMap" in inject_text("---\n".join([*maps, format_pod(pod)]), MOUNTING)


def test_config_map_in_a_list_is_seen() -> None:
    items = "".join(f"  {line}\n" for line in format_config_map("platform").splitlines())
    text = f"apiVersion: v1\nkind: List\nitems:\n- {items.lstrip()}---\n{format_pod('payments')}"
    (fault,) = collect_faults(text, MOUNTING)
    assert "(document 1, line 4)" in fault
