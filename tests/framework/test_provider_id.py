"""How provider IDs are written and read."""

import pytest

from cmi import ProviderIdFormat


@pytest.mark.parametrize(
    ("template", "parts", "text"),
    [
        ("acme:///{region}/{id}", {"region": "north-1", "id": "i-1"}, "acme:///north-1/i-1"),
        ("acme://{id:d}", {"id": 4711}, "acme://4711"),
        ("gce://{project}/{zone}/{vm}", {"project": "p", "zone": "z", "vm": "v"}, "gce://p/z/v"),
        ("acme+x://[{id}]", {"id": "ü.1"}, "acme+x://[ü.1]"),
    ],
)
def test_what_is_written_is_read_again(
    template: str, parts: dict[str, str | int], text: str
) -> None:
    form = ProviderIdFormat(template)
    assert form.format(**parts) == text
    assert form.parse(text) == {name: str(value) for name, value in parts.items()}
    assert str(form) == template


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("acme:///{region}/{id}", "acme:///north-1/"),
        ("acme:///{region}/{id}", "acme:///north-1/i-1/more"),
        ("acme:///{region}/{id}", "acme:///north-1/i-1\n"),
        ("acme:///{region}/{id}", "other:///north-1/i-1"),
        ("acme://{id:d}", "acme://i-1"),
        ("a.me://{id}", "acme://i-1"),
    ],
)
def test_another_form_is_refused(template: str, text: str) -> None:
    with pytest.raises(ValueError, match="not a provider ID of the form"):
        ProviderIdFormat(template).parse(text)


@pytest.mark.parametrize("template", ["acme://{}", "acme://{0}", "acme://{id:x}", "acme://{a.b}"])
def test_a_malformed_template_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="has a part that is not like"):
        ProviderIdFormat(template)
