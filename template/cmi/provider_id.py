"""Provider IDs: how a driver writes and reads what stands in `node.spec.providerID`."""

import re
from collections.abc import Iterator, Mapping
from string import Formatter


class ProviderIdFormat:
    """The form of a driver's provider IDs, written as for `str.format`.

    `ProviderIdFormat("acme:///{region}/{id}")` has the parts `region` and `id`. A part is one or
    more characters without `/` and spaces; one written as `{id:d}` is a number. Your cloud's
    cloud-controller-manager dictates the form, since the ID equals `node.spec.providerID`.

    A part that is named like a field of your scope says where the VM is. The framework puts it
    into the scope of the request, after the field's own validation, so that a machine class that
    has moved to another region hides none of its machines.

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
            ValueError: It is not one of this driver.
        """
        match = self._pattern.fullmatch(provider_id)
        if match is None:
            raise ValueError(f"not a provider ID of the form {self._template}")
        return match.groupdict()


def _patterns(template: str) -> Iterator[str]:
    """Yield the regular expressions of the template's texts and parts."""
    for text, name, spec, _ in Formatter().parse(template):
        yield re.escape(text)
        if name is not None:
            if not name.isidentifier() or spec not in ("", "d"):
                raise ValueError(f"{template!r} has a part that is not like {{region}} or {{id:d}}")
            yield f"(?P<{name}>" + ("[0-9]+)" if spec == "d" else r"[^/\s]+)")
