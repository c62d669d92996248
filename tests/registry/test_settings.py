from __future__ import annotations

import pytest

from kormos_core.errors import SettingError
from kormos_core.registry import PluginSettings

DISABLED = "disabled by KORMOS_DISABLE_PLUGINS"
NOT_ALLOWED = "not among those of KORMOS_LOAD_PLUGINS"


@pytest.mark.parametrize(
    ("disable", "load", "reason"),
    [
        ("", "", ""),
        ("0", "", ""),
        ("false", "", ""),
        ("1", "", DISABLED),
        ("True", "", DISABLED),
        ("1", "scipy", DISABLED),
        ("scipy", "", DISABLED),
        (" tfp , SciPy ", "", DISABLED),
        ("kormos_scipy", "", DISABLED),
        ("tfp", "", ""),
        ("", "scipy", ""),
        ("", "kormos-scipy,tfp", ""),
        ("", "tfp", NOT_ALLOWED),
        ("scipy", "scipy", DISABLED),
    ],
)
def test_the_variables_decide_whether_a_plugin_may_load(
    disable: str, load: str, reason: str
) -> None:
    environ = {"KORMOS_DISABLE_PLUGINS": disable, "KORMOS_LOAD_PLUGINS": load}

    settings = PluginSettings.from_environ(environ)

    assert settings.why_not("scipy", "kormos-scipy") == reason


@pytest.mark.parametrize(
    ("value", "strict"), [("", False), ("0", False), ("no", False), ("1", True), ("TRUE", True)]
)
def test_strict_is_yes_or_no(value: str, strict: bool) -> None:
    settings = PluginSettings.from_environ({"KORMOS_STRICT_PLUGINS": value})

    assert settings.strict is strict


def test_strict_refuses_another_word() -> None:
    with pytest.raises(SettingError, match=r"KORMOS_STRICT_PLUGINS is 'very'\. It takes 1 or 0"):
        PluginSettings.from_environ({"KORMOS_STRICT_PLUGINS": "very"})


def test_disabling_a_known_plugin_that_is_absent_is_no_mistake() -> None:
    PluginSettings(disabled=("tfp", "kormos-tfp")).check_names(["scipy"])


def test_loading_a_known_plugin_that_is_absent_names_the_cure() -> None:
    settings = PluginSettings(allowed=("tfp",))

    with pytest.raises(SettingError, match=r"Installed: scipy\. Install it: pip install kormos-t"):
        settings.check_names(["scipy"])


def test_disabling_a_misspelled_plugin_is_refused() -> None:
    settings = PluginSettings(disabled=("spicy",))

    with pytest.raises(SettingError, match=r"KORMOS_DISABLE_PLUGINS names 'spicy'"):
        settings.check_names(["scipy"])
