"""Provider IDs: formats and parses the value of `node.spec.providerID`."""

import re
from collections.abc import Iterator, Mapping
from string import Formatter


class ProviderIdFormat:
    """The form of a driver's provider IDs, written as for `str.format`.

    `ProviderIdFormat("acme:///{region}/{id}")` has the parts `region` and `id`. A part is one or
    more characters other than `/` and spaces; a part written as `{id:d}` is a number. Your cloud's
    cloud-controller-manager determines the form, because the ID must equal `node.spec.providerID`.

    If a part has the same name as a field of your scope, it says where the VM is. The framework
    validates it and puts it into the scope of the request, so that machines are still found after
    their machine class has moved to another region.

    Raises:
        ValueError: The template is malformed, or names a part twice.
    """

    def __init__(self, template: str) -> None:
        self._template = template
        self._pattern = re.compile("".join(_patterns(template)))

    def __str__(self) -> str:
        return self._template

    def format(self, **parts: str | int) -> str:
        """Return the provider ID with these parts."""
        return self._template.format(**parts)

    def parse(self, provider_id: str) -> Mapping[str, str]:
        """Return the parts of a provider ID by name.

        Raises:
            ValueError: The ID has another form, so it is not from this driver.
        """
        match = self._pattern.fullmatch(provider_id)
        if match is None:
            raise ValueError(f"not a provider ID of the form {self._template}")
        return match.groupdict()


def _patterns(template: str) -> Iterator[str]:
    """Yield regular expressions for the template's texts and parts."""
    for text, name, spec, _ in Formatter().parse(template):
        yield re.escape(text)
        if name is not None:
            if not name.isidentifier() or spec not in ("", "d"):
                raise ValueError(f"{template!r} has a part that is not like {{region}} or {{id:d}}")
            yield f"(?P<{name}>" + ("[0-9]+)" if spec == "d" else r"[^/\s]+)")
